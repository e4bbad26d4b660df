//! The API's own document, read the way a stranger would: endpoints, what they need, and example requests made from
//! their schemas.

use envforge_core::access::Action;
use envforge_core::id::KINDS;
use serde_json::{Map, Value, json};

/// Scope by which the document names what only the installation's operator may do.
const OPERATOR: &str = "operator";

/// All endpoints.
pub(crate) struct Contract {
    pub(crate) endpoints: Vec<Endpoint>,
}

/// One endpoint.
pub(crate) struct Endpoint {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) needs: Needs,
    /// A body its schema allows.
    pub(crate) body: Option<Value>,
    parameters: Vec<(String, String)>,
    /// What must be said behind the path.
    query: Vec<(String, String)>,
}

/// Who may call it.
pub(crate) enum Needs {
    /// Everyone.
    Nobody,
    /// Somebody signed in.
    Caller(Right),
}

/// With which right.
pub(crate) enum Right {
    /// None but being signed in.
    SignedIn,
    /// Operating the installation.
    Operator,
    /// A member of the org in the path who may do this.
    Member(Action),
}

impl Contract {
    pub(crate) fn read() -> Self {
        let document = serde_json::to_value(envforge_server::openapi_document()).unwrap();
        let mut endpoints = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                endpoints.push(endpoint(&document, method, path, operation));
            }
        }
        assert!(endpoints.len() > 20, "the document is all there");
        Self { endpoints }
    }
}

impl Endpoint {
    /// Its path with the org given, ids and names that fit but name nothing, and whatever else must be said.
    pub(crate) fn example_path(&self, org: &str) -> String {
        let mut path = self.path.replace("{org}", org);
        for (name, value) in &self.parameters {
            path = path.replace(&format!("{{{name}}}"), value);
        }
        for (name, value) in &self.query {
            let mark = if path.contains('?') { '&' } else { '?' };
            path = format!("{path}{mark}{name}={value}");
        }
        path
    }
}

fn endpoint(document: &Value, method: &str, path: &str, operation: &Value) -> Endpoint {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let parameters = |place: &'static str| {
        let all = operation["parameters"].as_array().into_iter().flatten();
        let wanted = all.filter(move |parameter| parameter["in"] == place && parameter["required"] == true);
        wanted.map(|parameter| {
            let value = match example(document, &parameter["schema"]) {
                Value::String(text) => text,
                other => other.to_string(),
            };
            (parameter["name"].as_str().unwrap().to_owned(), value)
        })
    };
    Endpoint {
        method: method.to_uppercase(),
        path: path.to_owned(),
        needs: needs(path, operation),
        body: (!schema.is_null()).then(|| example(document, schema)),
        parameters: parameters("path").collect(),
        query: parameters("query").collect(),
    }
}

/// Read from the security requirement: an empty one is for everyone, its scopes name the right.
fn needs(path: &str, operation: &Value) -> Needs {
    let scopes: Vec<&str> = match &operation["security"] {
        Value::Null => Vec::new(),
        security if security[0] == json!({}) => return Needs::Nobody,
        security => security[0]["api_key"].as_array().unwrap().iter().filter_map(Value::as_str).collect(),
    };
    let right = match scopes.as_slice() {
        [] => Right::SignedIn,
        [scope] if *scope == OPERATOR => Right::Operator,
        [action] => Right::Member(action.parse().unwrap_or_else(|error| panic!("{path}: {error}"))),
        several => panic!("{path} names several rights: {several:?}"),
    };
    assert_eq!(
        path.contains("{org}"),
        matches!(right, Right::Member(_)),
        "{path}: an endpoint of an org names its action in `security`, and no other does"
    );
    Needs::Caller(right)
}

/// The smallest value a schema allows.
pub(crate) fn example(document: &Value, schema: &Value) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap();
        if let Some((_, prefix)) = KINDS.iter().find(|(kind, _)| *kind == name) {
            return format!("{prefix}_{}", "0".repeat(32)).into();
        }
        return example(document, &document["components"]["schemas"][name]);
    }
    if !schema["example"].is_null() {
        return schema["example"].clone();
    }
    if let Some(value) = schema["enum"].get(0) {
        return value.clone();
    }
    for choices in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[choices].as_array() {
            return example(document, choices.iter().find(|choice| choice["type"] != "null").unwrap());
        }
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return example(document, &parts[0]);
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().find(|kind| **kind != "null").cloned().unwrap_or_default(),
        kind => kind.clone(),
    };
    match kind.as_str().unwrap_or("object") {
        "string" => "x".into(),
        "integer" | "number" => schema["minimum"].as_i64().unwrap_or(0).into(),
        "boolean" => false.into(),
        "array" => json!([]),
        _ => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let fields = required.map(|name| (name.to_owned(), example(document, &schema["properties"][name])));
            Value::Object(fields.collect::<Map<_, _>>())
        }
    }
}
