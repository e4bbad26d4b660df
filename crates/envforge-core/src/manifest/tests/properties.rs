//! What holds for every file, not only for those someone thought of.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::manifest::diagnostic::lines;
use crate::manifest::{
    EnvValue, FILE_NAME, Health, Hooks, InputValues, Manifest, Port, Protocol, Requirement, ResourceKind, ResourceMode,
    RestartPolicy, Rewrite, Service, Source, Wiring, explain, parse,
};
use crate::secret::Secret;

/// Text as YAML takes it whatever is in it: JSON's quoting is valid double quoting.
fn yaml(text: &str) -> String {
    serde_json::to_string(text).expect("text becomes JSON")
}

/// The file that says what the manifest says.
fn render(manifest: &Manifest) -> String {
    let mut out = String::new();
    if let Some(repo) = &manifest.repo {
        let _ = writeln!(out, "repo: {repo}");
    }
    let _ = writeln!(out, "prepare_pr: {}\nservices:", manifest.prepare_pr);
    for (name, service) in &manifest.services {
        let _ = writeln!(out, "  {name}:\n    command: {}\n    routes: {:?}", yaml(&service.command), service.routes);
        if let Some(directory) = &service.directory {
            let _ = writeln!(out, "    directory: {directory}");
        }
        if let Some(port) = service.port {
            let _ = writeln!(out, "    port: {port}");
        }
        let rewrites: Vec<&str> = service.rewrite.iter().map(|rewrite| rewrite.as_str()).collect();
        let _ = writeln!(out, "    protocol: {}\n    rewrite: {rewrites:?}", service.protocol.as_str());
        for (input, requirement) in &service.inputs {
            let opening = if service.inputs.keys().next() == Some(input) { "    inputs:\n" } else { "" };
            let _ = writeln!(out, "{opening}      {input}: {}", requirement.as_str());
        }
        let _ = writeln!(out, "    environment:");
        for (variable, value) in &service.environment {
            let value = match value {
                EnvValue::Literal(text) => yaml(text),
                EnvValue::Input(input) => format!("input.{input}"),
            };
            let _ = writeln!(out, "      {variable}: {value}");
        }
        let _ = match &service.health {
            None => Ok(()),
            Some(Health::Http { path }) => writeln!(out, "    health: {{ http: {} }}", yaml(path)),
            Some(Health::Tcp) => writeln!(out, "    health: {{ tcp: true }}"),
            Some(Health::Command(command)) => writeln!(out, "    health: {{ command: {} }}", yaml(command)),
            Some(Health::Log(text)) => writeln!(out, "    health: {{ log: {} }}", yaml(text)),
        };
        if let Some(seconds) = service.start_timeout {
            let _ = writeln!(out, "    start_timeout: {seconds}s");
        }
        let _ = writeln!(out, "    restart: {}\n    stop_grace: {}", service.restart.as_str(), service.stop_grace);
    }
    let _ = writeln!(out, "resources:");
    for (kind, mode) in &manifest.resources {
        let _ = match mode {
            ResourceMode::BranchScoped { from: None, .. } => writeln!(out, "  {kind}: branch_scoped"),
            ResourceMode::BranchScoped { from: Some(branch), extensions } => {
                writeln!(out, "  {kind}: {{ from: {branch}, extensions: [{}] }}", extensions.join(", "))
            }
            ResourceMode::CustomerCloud { secret } => {
                writeln!(out, "  {kind}: {{ mode: customer_cloud, secret: {secret} }}")
            }
        };
    }
    let _ = writeln!(out, "variables:");
    for (name, value) in &manifest.variables {
        let _ = writeln!(out, "  {name}: {}", yaml(value));
    }
    let runtime = &manifest.runtime;
    let _ = writeln!(
        out,
        "runtime: {{ size: {}, idle: {}s, reclaim_after: {}s, stop_after: {}s }}",
        runtime.size, runtime.idle, runtime.reclaim_after, runtime.stop_after
    );
    let _ = writeln!(out, "hooks:");
    let hooks = &manifest.hooks;
    for (name, command) in
        [("setup", &hooks.setup), ("before_sleep", &hooks.before_sleep), ("after_wake", &hooks.after_wake)]
    {
        if let Some(command) = command {
            let _ = writeln!(out, "  {name}: {}", yaml(command));
        }
    }
    out
}

/// A service whose inputs are drawn from the names the others may have.
fn service() -> impl Strategy<Value = Service> {
    let input = prop_oneof![
        "(web|api|alpha|beta|gamma)_(url|port|public_url)".prop_map(|name| name),
        Just("database_url".to_owned()),
        Just("redis_url".to_owned()),
        Just("s3_bucket".to_owned()),
        Just("level".to_owned()),
    ];
    let requirement = prop_oneof![Just(Requirement::Required), Just(Requirement::Optional)];
    let health = prop_oneof![
        Just(None),
        Just(Some(Health::Tcp)),
        "/[a-z?=&]{0,8}".prop_map(|path| Some(Health::Http { path })),
        "[a-z]\\PC{0,8}".prop_map(|text| Some(Health::Log(text))),
        "[a-z]\\PC{0,8}".prop_map(|text| Some(Health::Command(text))),
    ];
    let restart = prop_oneof![Just(RestartPolicy::OnFailure), Just(RestartPolicy::Always), Just(RestartPolicy::Never)];
    (
        ("[a-z](\\PC|\n){0,20}", proptest::option::of("[a-z]{1,5}(/[a-z]{1,5}){0,2}"), any::<bool>()),
        btree_map(input, requirement, 0..4),
        btree_map("[A-Z_][A-Z0-9_]{0,5}", "(\\PC|\n|\t){0,12}", 0..3),
        (health, restart, 0..=600_u32, proptest::option::of(1..=3_600_u32)),
        (
            prop_oneof![Just(Protocol::Http), Just(Protocol::H2c)],
            proptest::sample::subsequence(Rewrite::ALL.to_vec(), 0..=2),
        ),
    )
        .prop_map(
            |(
                (command, directory, has_port),
                inputs,
                literals,
                (health, restart, stop_grace, start_timeout),
                (protocol, rewrite),
            )| {
                let literals = literals
                    .into_iter()
                    .filter(|(name, text)| !name.starts_with("ENVFORGE_") && !text.contains("input."));
                let mut environment: BTreeMap<String, EnvValue> =
                    literals.map(|(name, text)| (name, EnvValue::Literal(text))).collect();
                for input in inputs.keys() {
                    environment.insert(format!("FROM_{}", input.to_uppercase()), EnvValue::Input(input.clone()));
                }
                let port = has_port.then_some(1);
                Service {
                    command,
                    directory,
                    port,
                    protocol,
                    routes: Vec::new(),
                    rewrite: rewrite.into_iter().collect(),
                    inputs,
                    environment,
                    health,
                    restart,
                    stop_grace,
                    start_timeout,
                }
            },
        )
}

/// Any manifest that passes, except for what its inputs may lack.
fn manifest() -> impl Strategy<Value = Manifest> {
    let names = vec(service(), 5);
    let mode = || {
        prop_oneof![
            Just(None),
            Just(Some(ResourceMode::default())),
            Just(Some(ResourceMode::CustomerCloud { secret: "THEIR_URL".to_owned() })),
        ]
    };
    let resources = [mode(), mode(), mode()];
    let hook = || proptest::option::of("[a-z](\\PC|\n){0,20}");
    let hooks = (hook(), hook(), hook());
    (names, 1..32_u8, resources, any::<bool>(), (30..=86_400_u32, 10..=604_800_u32), hooks).prop_map(
        |(services, chosen, resources, prepare_pr, (idle, reclaim_after), (setup, before_sleep, after_wake))| {
            let names = ["web", "api", "alpha", "beta", "gamma"];
            let mut manifest =
                Manifest { prepare_pr, repo: prepare_pr.then(|| "git.example/a/b".to_owned()), ..Manifest::default() };
            for (place, (name, mut service)) in names.into_iter().zip(services).enumerate() {
                service.port = service.port.map(|_| 5000 + place as u16);
                service.routes = if place % 2 == 0 { vec![format!("/{name}")] } else { Vec::new() };
                if chosen >> place & 1 == 1 {
                    manifest.services.insert(name.to_owned(), service);
                }
            }
            let modes = ResourceKind::ALL.into_iter().zip(resources);
            manifest.resources.extend(modes.filter_map(|(kind, mode)| Some((kind, mode?))));
            if let Some(ResourceMode::BranchScoped { from, extensions }) =
                manifest.resources.get_mut(&ResourceKind::Postgres)
                && idle % 2 == 0
            {
                *from = Some("feature/start".to_owned());
                extensions.extend(["bloom", "uuid-ossp"].map(str::to_owned));
            }
            manifest.variables.insert("level".to_owned(), "3 # not a comment".to_owned());
            (manifest.runtime.idle, manifest.runtime.reclaim_after) = (idle, reclaim_after);
            manifest.hooks = Hooks { setup, before_sleep, after_wake };
            manifest
        },
    )
}

/// The same, with everything optional that nothing in it provides, and no circles.
fn sound(mut manifest: Manifest) -> Manifest {
    loop {
        let wiring = Wiring::new(&manifest);
        let mut changed = false;
        for (name, service) in &mut manifest.services {
            for (input, requirement) in &mut service.inputs {
                let source = wiring.services[name].inputs[input].source();
                let is_missing = matches!(source, None | Some(Source::Secret { .. }));
                if *requirement == Requirement::Required && is_missing {
                    *requirement = Requirement::Optional;
                    changed = true;
                }
            }
        }
        if let Some(circle) = wiring.cycle() {
            let service = manifest.services.get_mut(&circle[0]).expect("the circle is of services");
            service.port = Some(6000 + circle[0].len() as u16 * 10 + u16::from(circle[0].as_bytes()[0]));
            changed = true;
        }
        if !changed {
            return manifest;
        }
    }
}

/// Parses, and checks what holds of every answer.
fn checked(source: &[u8]) {
    match parse(source, FILE_NAME) {
        Ok(manifest) => drop(explain(&manifest, &Wiring::new(&manifest))),
        Err(mistakes) => {
            assert!(!mistakes.is_empty());
            let text = String::from_utf8_lossy(source);
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            for mistake in mistakes {
                let line = lines(text).nth((mistake.line as usize).checked_sub(1).expect("lines start at 1"));
                let width = line.expect("the line is in the file").chars().count();
                assert!((1..=width as u32 + 1).contains(&mistake.column), "{mistake}");
                assert!(
                    !mistake.message.is_empty() && !mistake.fix.is_empty() && mistake.code.starts_with("manifest.")
                );
                assert!(!mistake.to_string().contains('\u{1b}'));
                drop(mistake.render_snippet(source));
            }
        }
    }
}

/// Text made of what manifests are made of.
fn yamlish() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "services:",
        "web:",
        "api:",
        "command:",
        "inputs:",
        "environment:",
        "port:",
        "routes:",
        "health:",
        "resources:",
        "postgres:",
        "checks:",
        "runtime:",
        "variables:",
        " ",
        "  ",
        "    ",
        "\n",
        "\n  ",
        "\n    ",
        "\n      ",
        "\t",
        "\r\n",
        "\r",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        ": ",
        "\"",
        "'",
        "&a ",
        "*a",
        "<<: ",
        "!x ",
        "|\n",
        ">-\n",
        "#",
        "---\n",
        "...\n",
        "? ",
        "input.",
        "api_url",
        "required",
        "3000",
        "10m",
        "true",
        "null",
        "~",
        "/",
        "é",
        "\u{feff}",
        "\u{85}",
        "\u{2028}",
        "\0",
        "%YAML 1.2\n",
        "\\",
    ]);
    vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    // proves REPO-3
    #[test]
    fn no_bytes_are_too_strange(source in vec(any::<u8>(), 0..200)) {
        checked(&source);
    }

    // proves REPO-3
    #[test]
    fn no_text_is_too_strange(source in "(\\PC|[\n\r\t :{}\\[\\],&*!|>'\"#-]){0,120}") {
        checked(source.as_bytes());
    }

    // proves REPO-3
    #[test]
    fn no_almost_yaml_is_too_strange(source in yamlish()) {
        checked(source.as_bytes());
    }

    // proves REPO-3
    #[test]
    fn one_wrong_byte_is_told_where_it_is(manifest in manifest(), place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut source = render(&manifest).into_bytes();
        let place = place.index(source.len());
        source[place] = byte;
        checked(&source);
    }

    // proves REPO-3
    #[test]
    fn a_file_means_what_it_says(manifest in manifest()) {
        let manifest = sound(manifest);
        let source = render(&manifest);
        match parse(source.as_bytes(), FILE_NAME) {
            Ok(read) => prop_assert_eq!(read, manifest),
            Err(mistakes) => prop_assert!(false, "{}\n{}", mistakes[0].render_snippet(source.as_bytes()), source),
        }
    }

    // proves REPO-4
    #[test]
    fn no_service_starts_before_what_it_requires_and_all_start_in_the_end(manifest in manifest(), order in any::<u64>()) {
        let manifest = sound(manifest);
        let wiring = Wiring::new(&manifest);
        let mut values = InputValues::default();
        for kind in manifest.resources.keys() {
            let given = kind.input_names().map(|name| (name, Secret::new("value".to_owned())));
            values.resource(*kind, given.collect());
        }
        for name in manifest.services.keys() {
            values.public_url(name, "https://origin");
        }
        let mut running: BTreeSet<String> = BTreeSet::new();
        while running.len() < wiring.services.len() {
            let ready: Vec<String> = wiring
                .ready_to_start(&values.sources())
                .into_iter()
                .filter(|name| !running.contains(*name))
                .map(str::to_owned)
                .collect();
            prop_assert!(!ready.is_empty(), "nothing can start any more");
            let next = ready[order as usize % ready.len()].clone();
            for provider in &wiring.services[&next].waits_for {
                prop_assert!(running.contains(provider), "{} started before {}", next, provider);
            }
            let environment = wiring.resolve(&next, &values);
            prop_assert!(environment.is_ok(), "{:?}", environment);
            if let Port::Discover { suggested_port } = wiring.services[&next].port {
                values.bound(&next, suggested_port);
            }
            running.insert(next);
        }
    }

    // proves REPO-4
    #[test]
    fn a_circle_is_found_exactly_when_something_never_starts(manifest in manifest()) {
        let wiring = Wiring::new(&manifest);
        let mut started: BTreeSet<&str> = BTreeSet::new();
        loop {
            let next = wiring.services.iter().find(|(name, service)| {
                !started.contains(name.as_str()) && service.waits_for.iter().all(|other| started.contains(other.as_str()))
            });
            let Some((name, _)) = next else { break };
            started.insert(name);
        }
        prop_assert_eq!(wiring.cycle().is_some(), started.len() < wiring.services.len());
        if let Some(circle) = wiring.cycle() {
            for pair in circle.windows(2) {
                prop_assert!(wiring.services[&pair[0]].waits_for.contains(&pair[1]));
            }
            prop_assert_eq!(circle.first(), circle.last());
        }
    }
}
