//! The journal survives what it says it survives.

use super::*;
use envforge_api::host::Order;
use envforge_core::id::{Id as _, OrgId};
use proptest::prelude::*;
use uuid::Uuid;

fn state() -> WorkspaceState {
    WorkspaceState::new(WorkspaceId::from_uuid(Uuid::from_u128(1)), 3, 200_003)
}

fn command(id: u128, generation: u64) -> HostCommand {
    HostCommand {
        id: CommandId::from_uuid(Uuid::from_u128(id)),
        org: OrgId::from_uuid(Uuid::from_u128(9)),
        workspace: WorkspaceId::from_uuid(Uuid::from_u128(1)),
        generation,
        order: Order::FreezeRuntime,
        traceparent: None,
    }
}

fn journal(dir: &tempfile::TempDir) -> Journal {
    let data = DataDir::new(dir.path(), true);
    data.create().expect("directories");
    let place = data.place(state().workspace, 3, 200_003);
    fs_err::create_dir_all(place.root()).expect("directory");
    Journal::of(&place)
}

#[test]
fn the_newer_of_both_files_is_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = journal(&dir);
    assert_eq!(journal.read().expect("reads"), None);
    let mut state = state();
    for (generation, durability) in [(1, Durability::Machine), (2, Durability::Process), (3, Durability::Machine)] {
        state.generation = generation;
        journal.write(&mut state, durability).expect("written");
        assert_eq!(journal.read().expect("reads"), Some(state.clone()));
    }
}

#[test]
fn a_torn_recent_file_falls_back_to_the_synced_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = journal(&dir);
    let mut state = state();
    journal.write(&mut state, Durability::Machine).expect("written");
    let synced = state.clone();
    state.generation = 7;
    journal.write(&mut state, Durability::Process).expect("written");
    fs_err::write(&journal.recent, b"{\"revision\": 2, \"wor").expect("torn");
    assert_eq!(journal.read().expect("reads"), Some(synced));
    fs_err::write(&journal.synced, b"").expect("torn");
    assert!(journal.read().is_err(), "two unreadable files are told, not taken for a new workspace");
}

#[test]
fn a_write_that_fails_leaves_the_last_state() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = journal(&dir);
    let mut state = state();
    journal.write(&mut state, Durability::Machine).expect("written");
    let before = state.clone();
    fs_err::create_dir(dir.path().join(format!("workspaces/{}/state.json.tmp", state.workspace))).expect("in the way");
    state.generation = 5;
    assert!(journal.write(&mut state, Durability::Machine).is_err());
    assert_eq!(journal.read().expect("reads"), Some(before));
}

// proves OPS-2
#[test]
fn an_answered_command_is_answered_the_same_and_an_older_one_is_stale() {
    let mut state = state();
    state.generation = 4;
    state.remember(command(1, 2).id, Outcome::Done);
    assert_eq!(state.answer_to(&command(1, 2)), Some(Outcome::Done), "answered is answered, however old");
    assert_eq!(state.answer_to(&command(2, 3)), Some(Outcome::Stale));
    assert_eq!(state.answer_to(&command(3, 4)), None);
    let stone = Gravestone { generation: 4, answered: state.answered.clone(), at: Timestamp::UNIX_EPOCH };
    assert_eq!(stone.answer_to(&command(1, 2)), Some(Outcome::Done));
    assert_eq!(stone.answer_to(&command(2, 3)), Some(Outcome::Stale));
}

proptest! {
    #[test]
    fn memory_is_bounded_and_keeps_the_latest(ids in prop::collection::vec(0_u128..500, 1..300)) {
        let mut state = state();
        for id in &ids {
            state.remember(command(*id, 1).id, Outcome::Done);
            prop_assert!(state.answered.len() <= ANSWERS_KEPT);
            prop_assert_eq!(state.answer_to(&command(*id, 0)), Some(Outcome::Done));
        }
        let json = serde_json::to_vec(&state).expect("serializes");
        prop_assert_eq!(serde_json::from_slice::<WorkspaceState>(&json).expect("reads back"), state);
    }
}
