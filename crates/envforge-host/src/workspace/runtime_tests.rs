//! What a changed manifest does to what runs.

use super::*;

#[test]
fn a_changed_service_is_ended_and_an_unchanged_one_stays() {
    let service = |command: &str| Service { command: command.to_owned(), ..Service::default() };
    let manifest = |services: &[(&str, &str)]| Manifest {
        services: services.iter().map(|(name, command)| ((*name).to_owned(), service(command))).collect(),
        ..Manifest::default()
    };
    let mut runtime = Runtime::default();
    assert!(runtime.load(&manifest(&[("a", "1"), ("b", "1"), ("c", "1")])).is_empty());
    for unit in runtime.units.values_mut() {
        unit.pid = Some(7);
    }
    let ended: Vec<String> =
        runtime.load(&manifest(&[("a", "1"), ("b", "2")])).into_iter().map(|(name, _)| name).collect();
    assert_eq!(ended, ["b", "c"]);
    assert_eq!(runtime.units["a"].pid, Some(7));
    assert!(runtime.units["b"].pid.is_none() && runtime.units["b"].ending);
    assert!(!runtime.units.contains_key("c"));
}
