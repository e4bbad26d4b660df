//! Who provides what, and who starts when.

use std::collections::{BTreeMap, BTreeSet};

use expect_test::expect;

use super::{SMALLEST, ok};
use crate::manifest::{InputValues, MissingInput, Port, ResourceKind, Source, Supply, Wiring};
use crate::secret::Secret;

fn database(url: &str) -> BTreeMap<&'static str, Secret> {
    BTreeMap::from([("database_url", Secret::new(url.to_owned()))])
}

fn wired(source: &str) -> Wiring {
    Wiring::new(&ok(source))
}

// proves REPO-4
#[test]
fn what_is_satisfied_starts_and_the_rest_follows() {
    let wiring = wired(SMALLEST);
    let mut values = InputValues::default();
    assert!(wiring.ready_to_start(&values.sources()).is_empty());
    assert_eq!(wiring.held_back_by("api", &values.sources()), ["database_url"]);
    values.resource(ResourceKind::Postgres, database("postgres://branch"));
    assert_eq!(wiring.ready_to_start(&values.sources()), ["api"]);
    assert_eq!(wiring.services["web"].waits_for, BTreeSet::from(["api".to_owned()]));
    let missing = MissingInput { service: "web".to_owned(), input: "api_url".to_owned() };
    assert_eq!(wiring.resolve("web", &values), Err(missing));
    // It was told 4000 and listens elsewhere.
    values.bound("api", 4321);
    assert_eq!(wiring.ready_to_start(&values.sources()), ["api", "web"]);
    expect![[r#"
        Ok(
            {
                "API_URL": "http://127.0.0.1:4321",
                "PORT": "3000",
            },
        )
    "#]]
    .assert_debug_eq(&wiring.resolve("web", &values));
    values.unbound("api");
    assert_eq!(wiring.ready_to_start(&values.sources()), ["api"]);
}

// proves REPO-4
#[test]
fn a_declared_port_is_known_at_once_and_makes_no_circle() {
    let wiring = wired(
        "services:
          web: { command: a, port: 3000, inputs: { api_url: required }, environment: { API: input.api_url, PORT: 80 } }
          api: { command: b, port: 4000, inputs: { web_url: required, web_port: required } }",
    );
    assert_eq!(wiring.cycle(), None);
    assert_eq!(wiring.ready_to_start(&BTreeSet::new()), ["api", "web"]);
    let environment = wiring.resolve("web", &InputValues::default()).expect("all is known");
    assert_eq!(environment["API"], "http://127.0.0.1:4000");
    assert_eq!(environment["PORT"], "80");
}

// proves REPO-4
#[test]
fn public_urls_and_optional_inputs_hold_nobody_back() {
    let wiring = wired(
        "services:
          web: { command: a, inputs: { api_public_url: required, api_url: optional }, environment: { A: input.api_public_url, B: input.api_url } }
          api: { command: b, inputs: { web_public_url: required, redis_url: optional } }",
    );
    assert_eq!(wiring.ready_to_start(&BTreeSet::new()), ["api", "web"]);
    let mut values = InputValues::default();
    values.public_url("api", "https://api--main--acme.example.dev");
    let environment = wiring.resolve("web", &values).expect("what is required is known");
    assert_eq!(environment["A"], "https://api--main--acme.example.dev");
    assert!(!environment.contains_key("B"));
    assert!(matches!(wiring.services["api"].inputs["redis_url"].supply, Supply::Unsatisfied { .. }));
}

// proves REPO-4
#[test]
fn variables_give_their_own_name_and_hyphens_become_underscores() {
    let wiring = wired(
        "services:
          mail-worker: { command: a, port: 25, inputs: { level: required }, environment: { LEVEL: input.level } }
          web: { command: b, inputs: { mail_worker_port: required }, environment: { MAIL: input.mail_worker_port } }
variables: { level: 1.0 }",
    );
    let values = InputValues::default();
    assert_eq!(wiring.ready_to_start(&values.sources()), ["mail-worker", "web"]);
    assert_eq!(wiring.resolve("mail-worker", &values).expect("known")["LEVEL"], "1.0");
    assert_eq!(wiring.resolve("web", &values).expect("known")["MAIL"], "25");
}

// proves RUN-6
#[test]
fn a_resource_in_the_customers_cloud_is_a_secret() {
    let wiring = wired(
        "services: { web: { command: a, inputs: { database_url: required } } }
resources: { postgres: { mode: customer_cloud, secret: PROD_DB } }",
    );
    assert!(wiring.ready_to_start(&BTreeSet::from([Source::Resource { resource: ResourceKind::Postgres }])).is_empty());
    let source = Source::Secret { name: "PROD_DB".parse().expect("a name") };
    assert_eq!(wiring.services["web"].inputs["database_url"].source(), Some(&source));
    assert_eq!(wiring.ready_to_start(&BTreeSet::from([source])), ["web"]);
}

// proves RUN-6
#[test]
fn a_resource_gives_each_of_its_inputs_a_value_of_its_own() {
    let source = "services:
          web:
            command: a
            inputs: { s3_endpoint: required, s3_bucket: required, postgres_host: optional }
            environment: { ENDPOINT: input.s3_endpoint, BUCKET: input.s3_bucket, HOST: input.postgres_host }
resources: { object_storage: branch_scoped";
    let wiring = wired(&format!("{source} }}"));
    let mut values = InputValues::default();
    let given = [("s3_endpoint", "http://127.0.0.1:9000"), ("s3_bucket", "workspace")];
    values.resource(
        ResourceKind::ObjectStorage,
        given.into_iter().map(|(name, value)| (name, Secret::new(value.to_owned()))).collect(),
    );
    assert_eq!(wiring.ready_to_start(&values.sources()), ["web"]);
    let environment = wiring.resolve("web", &values).expect("what is required is known");
    assert_eq!((&*environment["ENDPOINT"], &*environment["BUCKET"]), ("http://127.0.0.1:9000", "workspace"));
    // Without a database, its pieces are names like any other, which many have secrets for.
    let host = |wiring: &Wiring| wiring.services["web"].inputs["postgres_host"].source().cloned();
    let secret = Some(Source::Secret { name: "POSTGRES_HOST".parse().expect("a name") });
    assert_eq!(host(&wiring), secret);
    let elsewhere = wired(&format!("{source}, postgres: {{ mode: customer_cloud, secret: DB_URL }} }}"));
    assert_eq!(host(&elsewhere), secret);
    let here = wired(&format!("{source}, postgres: branch_scoped }}"));
    assert_eq!(host(&here), Some(Source::Resource { resource: ResourceKind::Postgres }));
}

// proves RUN-6
#[test]
fn mail_goes_to_the_branch_or_to_a_provider_of_the_customers() {
    let source = "services:
          web: { command: a, inputs: { smtp_url: required }, environment: { SMTP_URL: input.smtp_url } }
resources: { mail: ";
    let source_of = |mode: &str| {
        let wiring = wired(&format!("{source}{mode} }}"));
        wiring.services["web"].inputs["smtp_url"].source().cloned()
    };
    assert_eq!(source_of("branch_scoped"), Some(Source::Resource { resource: ResourceKind::Mail }));
    let secret = Some(Source::Secret { name: "THEIR_SMTP".parse().expect("a name") });
    assert_eq!(source_of("{ mode: customer_cloud, secret: THEIR_SMTP }"), secret);
}

// proves ORG-5
// proves REPO-4
#[test]
fn what_nothing_provides_is_a_secret_of_that_name() {
    let wiring = wired(
        "services:
          web:
            command: a
            inputs: { stripe_key: required, sentry_dsn: optional }
            environment: { STRIPE: input.stripe_key, ALSO: input.stripe_key, DSN: input.sentry_dsn }
          api: { command: b, inputs: { stripe_key: optional } }",
    );
    let name: crate::secret::SecretName = "STRIPE_KEY".parse().expect("a name");
    let declared = wiring.secrets_of("web");
    assert_eq!(declared[&name], ["ALSO", "STRIPE"]);
    assert_eq!(
        declared.keys().map(crate::secret::SecretName::as_str).collect::<Vec<_>>(),
        ["SENTRY_DSN", "STRIPE_KEY"]
    );
    assert_eq!(wiring.secrets_of("api").len(), 1, "declared, and mapped onto nothing");
    let mut values = InputValues::default();
    assert_eq!(wiring.ready_to_start(&values.sources()), ["api"]);
    values.secret(&name, &"sk_live".to_owned().into());
    assert_eq!(wiring.ready_to_start(&values.sources()), ["api", "web"]);
    let environment = wiring.resolve("web", &values).expect("what is required is known");
    assert_eq!(environment["STRIPE"], "sk_live");
    assert!(!environment.contains_key("DSN"));
    assert!(!wiring.resolve("api", &values).expect("all is optional").contains_key("STRIPE_KEY"));
}

// proves REPO-3
#[test]
fn suggested_ports_are_fixed_and_free() {
    let wiring = wired(
        "services:
          a: { command: x }
          api: { command: x }
          b: { command: x, port: 3000 }
          c: { command: x, port: 8001 }
          d: { command: x }
          web: { command: x }",
    );
    let ports: Vec<(&str, Port)> =
        wiring.services.iter().map(|(name, service)| (name.as_str(), service.port)).collect();
    let discover = |suggested_port| Port::Discover { suggested_port };
    assert_eq!(
        ports,
        [
            ("a", discover(8000)),
            ("api", discover(4000)),
            ("b", Port::Declared(3000)),
            ("c", Port::Declared(8001)),
            ("d", discover(8002)),
            ("web", discover(3001)),
        ]
    );
}

#[test]
fn known_values_are_not_printed() {
    let mut values = InputValues::default();
    values.resource(ResourceKind::Postgres, database("postgres://user:hunter2@host"));
    assert!(!format!("{values:?}").contains("hunter2"));
}
