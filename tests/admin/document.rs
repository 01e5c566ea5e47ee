//! The API's description of itself, and whether a response keeps to it: a checker for the part of JSON Schema that the
//! description uses, with every property that no schema names counted as a mistake.

use crate::client::Proxy;
use serde_json::Map;
use serde_json::Value;
use std::collections::BTreeSet;
use tokio::sync::OnceCell;

/// `/openapi.json`.
pub(crate) struct Document(Value);

/// One method of one path.
pub(crate) struct Operation<'a> {
    document: &'a Document,
    /// `METHOD /path/{template}`
    pub(crate) name: String,
    value: &'a Value,
}

impl Document {
    /// The description, asked of a proxy once.
    pub(crate) async fn of_the_api() -> &'static Document {
        static DOCUMENT: OnceCell<Document> = OnceCell::const_new();
        let fetch = async || {
            let proxy = Proxy::start(crate::ONE_POOL).await;
            let reply = proxy.client().call("GET", "/openapi.json").send_unchecked().await;
            assert_eq!(reply.header("content-type"), "application/json");
            Document(reply.json())
        };
        DOCUMENT.get_or_init(fetch).await
    }

    /// Everything there is to call.
    pub(crate) fn operations(&self) -> Vec<Operation<'_>> {
        let paths = self.0["paths"].as_object().unwrap().iter();
        let operations = paths.flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(move |(method, value)| {
                let name = format!("{} {path}", method.to_uppercase());
                Operation { document: self, name, value }
            })
        });
        operations.collect()
    }

    /// The operation that a call falls under.
    pub(crate) fn operation(&self, method: &str, path: &str) -> Option<Operation<'_>> {
        let is_it = |operation: &Operation<'_>| {
            let (its_method, template) = operation.name.split_once(' ').unwrap();
            its_method == method && fits(template, path)
        };
        self.operations().into_iter().find(is_it)
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(reference) => {
                self.0.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference}"))
            }
            None => schema,
        }
    }
}

impl Operation<'_> {
    /// The statuses that it documents.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        let responses = self.value["responses"].as_object().unwrap();
        responses.keys().map(|status| status.parse().unwrap()).collect()
    }

    /// Whether a response is one that it documents.
    pub(crate) fn check(&self, status: u16, media_type: &str, body: &str) -> Result<(), String> {
        let response = &self.value["responses"][status.to_string()];
        if response.is_null() {
            return Err(format!("{} has no status {status}", self.name));
        }
        let schema = &response["content"][media_type]["schema"];
        if schema.is_null() {
            return Err(format!("{} has no {media_type:?} with status {status}: {response}", self.name));
        }
        if !media_type.ends_with("json") {
            return Ok(());
        }
        let body: Value = serde_json::from_str(body).map_err(|error| format!("the body is no JSON: {error}"))?;
        self.document.check(schema, &body, "")
    }
}

/// What a schema knows of an object's properties.
enum Known {
    Any,
    Only(BTreeSet<String>),
}

impl Known {
    fn none() -> Known {
        Known::Only(BTreeSet::new())
    }

    fn and(self, other: Known) -> Known {
        match (self, other) {
            (Known::Only(mut names), Known::Only(more)) => {
                names.extend(more);
                Known::Only(names)
            }
            _ => Known::Any,
        }
    }
}

impl Document {
    /// Whether `value`, found at `place`, fits the schema and holds nothing else.
    fn check(&self, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
        let known = self.known(schema, value, place)?;
        match (value.as_object(), known) {
            (Some(object), Known::Only(names)) => match object.keys().find(|name| !names.contains(*name)) {
                Some(name) => Err(format!("{place}/{name} is not documented")),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Whether `value` fits, and which of its properties the schema names.
    fn known(&self, schema: &Value, value: &Value, place: &str) -> Result<Known, String> {
        let schema = self.resolve(schema);
        let Some(rules) = schema.as_object() else { return Err(format!("{place}: {schema} is no schema")) };
        check_scalar(rules, value, place)?;
        let mut known = if rules.keys().all(|rule| rule == "description") { Known::Any } else { Known::none() };
        for part in rules.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            known = known.and(self.known(part, value, place)?);
        }
        if let Some(variants) = rules.get("oneOf").and_then(Value::as_array) {
            known = known.and(self.known_variant(variants, value, place)?);
        }
        if let Some(items) = rules.get("items") {
            for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                self.check(items, item, &format!("{place}/{index}"))?;
            }
        }
        match value.as_object() {
            Some(object) => Ok(known.and(self.known_properties(rules, object, place)?)),
            None => Ok(known),
        }
    }

    fn known_variant(&self, variants: &[Value], value: &Value, place: &str) -> Result<Known, String> {
        let (mut fitting, mut reasons) = (Vec::new(), Vec::new());
        for variant in variants {
            match self.known(variant, value, place) {
                Ok(known) => fitting.push(known),
                Err(why) => reasons.push(why),
            }
        }
        match (fitting.pop(), fitting.is_empty()) {
            (Some(known), true) => Ok(known),
            (Some(_), false) => Err(format!("{place} fits several variants")),
            (None, _) => Err(format!("{place} fits no variant: {}", reasons.join("; "))),
        }
    }

    fn known_properties(
        &self,
        rules: &Map<String, Value>,
        object: &Map<String, Value>,
        place: &str,
    ) -> Result<Known, String> {
        for name in rules.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                return Err(format!("{place}/{name} is missing"));
            }
        }
        let mut names = BTreeSet::new();
        for (name, schema) in rules.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if let Some(value) = object.get(name) {
                self.check(schema, value, &format!("{place}/{name}"))?;
            }
            names.insert(name.clone());
        }
        Ok(Known::Only(names))
    }
}

fn check_scalar(rules: &Map<String, Value>, value: &Value, place: &str) -> Result<(), String> {
    let types: Vec<&str> = match rules.get("type") {
        None => Vec::new(),
        Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).collect(),
        Some(kind) => kind.as_str().into_iter().collect(),
    };
    if !types.is_empty() && !types.iter().any(|kind| is_of_type(value, kind)) {
        return Err(format!("{place} is {value}, not of type {types:?}"));
    }
    let allowed = rules.get("enum").and_then(Value::as_array);
    if allowed.is_some_and(|allowed| !allowed.contains(value)) {
        return Err(format!("{place} is {value}, none of {allowed:?}"));
    }
    let least = rules.get("minimum").and_then(Value::as_f64);
    if least.zip(value.as_f64()).is_some_and(|(least, value)| value < least) {
        return Err(format!("{place} is {value}, below {least:?}"));
    }
    Ok(())
}

fn is_of_type(value: &Value, kind: &str) -> bool {
    match kind {
        "array" => value.is_array(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "object" => value.is_object(),
        "string" => value.is_string(),
        _ => panic!("unknown type {kind}"),
    }
}

/// Whether a path is one of a template such as `/v1/pools/{pool}`.
fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    let same = |(wanted, found): (&&str, &&str)| wanted == found || wanted.starts_with('{');
    template.len() == path.len() && template.iter().zip(&path).all(same)
}

#[tokio::test]
async fn the_checker_finds_what_is_not_documented() {
    let document = Document(serde_json::json!({
        "components": { "schemas": {
            "Kind": { "oneOf": [
                { "type": "object", "required": ["a"], "properties": { "a": { "type": "integer", "minimum": 0 } } },
                { "type": "object", "required": ["b"], "properties": { "b": { "type": ["string", "null"] } } }
            ] },
            "Thing": { "allOf": [
                { "$ref": "#/components/schemas/Kind" },
                { "type": "object", "required": ["n"], "properties": {
                    "n": { "type": "array", "items": { "enum": [1, 2] } }
                } }
            ] }
        } }
    }));
    let thing = serde_json::json!({ "$ref": "#/components/schemas/Thing" });
    for (value, mistake) in [
        (r#"{"a":1,"n":[]}"#, None),
        (r#"{"b":null,"n":[1,2]}"#, None),
        (r#"{"a":1}"#, Some("/n is missing")),
        (r#"{"n":[]}"#, Some(" fits no variant")),
        (r#"{"a":1,"b":"","n":[]}"#, Some(" fits several variants")),
        (r#"{"a":-1,"n":[]}"#, Some(" fits no variant: /a is -1, below")),
        (r#"{"a":1,"n":[3]}"#, Some("/n/0 is 3, none of")),
        (r#"{"a":1,"n":[],"c":1}"#, Some("/c is not documented")),
    ] {
        let found = document.check(&thing, &serde_json::from_str(value).unwrap(), "").err();
        let starts = found.as_deref().unwrap_or_default().starts_with(mistake.unwrap_or_default());
        assert!(starts && found.is_some() == mistake.is_some(), "{value}: {found:?}");
    }
}
