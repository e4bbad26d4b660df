//! Which port is a service's, and what a changed manifest does to what runs.

use super::*;

fn owned(port: u16, owner: &str) -> (u16, Option<String>) {
    (port, Some(owner.to_owned()))
}

#[test]
fn a_port_belongs_to_whoever_listens() {
    let listeners = [owned(3000, "web"), owned(4000, "api"), (5000, None)];
    assert_eq!(port_of("web", Port::Declared(3000), None, &listeners), (Some(3000), None));
    assert_eq!(
        port_of("other", Port::Declared(5000), None, &listeners),
        (Some(5000), None),
        "a daemon that forked away"
    );
    assert_eq!(port_of("other", Port::Declared(4000), None, &listeners), (None, None), "another's port is not its own");
    let (port, cause) = port_of("web", Port::Declared(8080), None, &listeners);
    assert_eq!(port, None);
    assert!(cause.is_some_and(|cause| cause.contains("8080") && cause.contains("3000")));
}

#[test]
fn a_found_port_stays_while_it_is_there() {
    let two = [owned(4100, "api"), owned(9229, "api")];
    let discover = Port::Discover { suggested_port: 4000 };
    assert_eq!(port_of("api", discover, None, &two).0, Some(4100));
    assert_eq!(port_of("api", discover, Some(9229), &two).0, Some(9229));
    assert_eq!(port_of("api", discover, Some(1), &[owned(4000, "api"), owned(3000, "api")]).0, Some(4000));
    assert_eq!(port_of("api", discover, Some(4000), &[]).0, None);
}

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
