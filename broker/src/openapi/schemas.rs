//! Types as schemas: JSON Schema of 2020-12, as OpenAPI 3.1 has it.

use rollmill_broker_client::routes::{Content, RouteName, Spec};
use rollmill_broker_client::rules::{Form, Id, Names, Rule, Text, pair_pattern};
use rollmill_broker_client::shapes::{Field, Shape};
use rollmill_broker_client::{
    FREE_JSON_BYTES_MAX, NewToken, SHAPE_LISTS, TOKEN_FORMS, TokenForm, rules::Described as _,
};
use serde_json::{Map, Value, json};

use super::{SCHEMAS, prose};

/// Name of the schema of what an agent says about itself or its work.
const FREE: &str = "FreeJson";

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{SCHEMAS}{name}") })
}

fn shapes() -> impl Iterator<Item = &'static Shape> {
    SHAPE_LISTS.iter().copied().flatten()
}

/// The fields of the shape of this name; none if it is none.
fn fields_of(name: &str) -> &'static [Field] {
    match shapes().find(|shape| shape.name == name) {
        Some(shape) => shape.fields,
        None => &[],
    }
}

/// The schema of a value with these rules.
pub(super) fn of(form: &Form, rules: &[Rule]) -> Value {
    match form {
        Form::Boolean => json!({ "type": "boolean" }),
        Form::Whole { min, max, format } => {
            let mut schema =
                json!({ "type": "integer", "format": format, "minimum": min, "maximum": max });
            for rule in rules {
                if let Rule::Within(min, max) = rule {
                    (schema["minimum"], schema["maximum"]) = (json!(min), json!(max));
                }
            }
            schema
        }
        Form::Number(format) => {
            let mut schema = json!({ "type": "number", "format": format });
            if rules.iter().any(|rule| matches!(rule, Rule::Share)) {
                (schema["minimum"], schema["maximum"]) = (json!(0), json!(1));
            }
            schema
        }
        Form::String => string(rules),
        Form::Id(id) => reference(id.name),
        Form::Names(names) => named(names, rules),
        Form::Nullable(form) => nullable(of(form, rules)),
        Form::List(form) => {
            bounded(json!({ "type": "array", "items": of(form, rules) }), "maxItems", rules)
        }
        Form::Map(form) => {
            let schema = json!({
                "type": "object",
                "propertyNames": string(rules),
                "additionalProperties": of(form, rules),
            });
            bounded(schema, "maxProperties", rules)
        }
        Form::Shape(name) => reference(name),
        Form::Free => reference(FREE),
    }
}

fn string(rules: &[Rule]) -> Value {
    for rule in rules {
        match rule {
            Rule::Text(wanted) => return text(wanted),
            Rule::Pair => return json!({ "type": "string", "pattern": pair_pattern() }),
            Rule::Opaque => return json!({ "type": "string", "format": "cursor" }),
            _ => {}
        }
    }
    json!({ "type": "string" })
}

fn text(wanted: &Text) -> Value {
    let mut schema = json!({
        "type": "string",
        "pattern": wanted.pattern(),
        "minLength": wanted.min,
        "maxLength": wanted.max,
    });
    if !wanted.reserved.is_empty() {
        schema["not"] = json!({ "enum": wanted.reserved });
    }
    schema
}

/// An enumeration, or those of its names that callers may use.
fn named(names: &Names, rules: &[Rule]) -> Value {
    let not = rules.iter().find_map(|rule| match rule {
        Rule::Not(not) => Some(not),
        _ => None,
    });
    let Some(not) = not else { return reference(names.name) };
    let kept: Vec<&str> = names.names.iter().copied().filter(|name| !not.contains(name)).collect();
    json!({ "type": "string", "enum": kept })
}

fn bounded(mut schema: Value, keyword: &str, rules: &[Rule]) -> Value {
    for rule in rules {
        if let Rule::AtMost(max) = rule {
            schema[keyword] = json!(max);
        }
    }
    schema
}

/// The same or null.
fn nullable(mut schema: Value) -> Value {
    let kind = schema.get("type").and_then(Value::as_str).map(str::to_owned);
    match kind.filter(|_| schema.get("enum").is_none()) {
        Some(kind) => {
            schema["type"] = json!([kind, "null"]);
            schema
        }
        None => json!({ "anyOf": [schema, { "type": "null" }] }),
    }
}

/// The parameters of a route: that of its path, and those of its query.
pub(super) fn parameters(spec: &Spec) -> Vec<Value> {
    let mut all = Vec::new();
    let name = spec.path.split_once('{').and_then(|(_, rest)| Some(rest.split_once('}')?.0));
    if let (Some(name), Some(form)) = (name, spec.parameter_form) {
        all.push(json!({ "name": name, "in": "path", "required": true, "schema": of(form, &[]) }));
    }
    for field in fields_of(spec.query) {
        // What is absent is not null in a query.
        let form = present(field.form);
        all.push(json!({
            "name": field.name,
            "in": "query",
            "required": !field.is_optional(),
            "description": prose(field.doc),
            "schema": of(form, field.rules),
        }));
    }
    all
}

/// The form without null.
fn present(form: &'static Form) -> &'static Form {
    match form {
        Form::Nullable(inner) => inner,
        _ => form,
    }
}

/// The schema of a body, with the fields that its route requires besides.
pub(super) fn required(schema: Value, spec: &Spec) -> Value {
    let Content::Json(Form::Shape(name)) = spec.body_form else { return schema };
    if spec.requires.is_empty() {
        return schema;
    }
    let fields = fields_of(name).iter().filter(|field| spec.requires.contains(&field.name));
    let properties: Map<String, Value> =
        fields.map(|field| (field.name.to_owned(), of(present(field.form), field.rules))).collect();
    json!({ "allOf": [schema, { "required": spec.requires, "properties": properties }] })
}

/// Every schema that has a name.
pub(super) fn components() -> Map<String, Value> {
    let mut all = Map::new();
    for shape in shapes() {
        all.insert(shape.name.to_owned(), object(shape));
        shape.fields.iter().for_each(|field| collect(field.form, &mut all));
    }
    for route in RouteName::ALL {
        if let Some(form) = route.spec().parameter_form {
            collect(form, &mut all);
        }
    }
    all
}

/// Adds the ids and enumerations that a form has.
fn collect(form: &Form, all: &mut Map<String, Value>) {
    match form {
        Form::Id(id) => {
            all.insert(id.name.to_owned(), identifier(id));
        }
        Form::Names(Names { name, what, names }) => {
            let schema = json!({ "type": "string", "enum": names, "description": what });
            all.insert((*name).to_owned(), schema);
        }
        Form::Free => {
            all.insert(FREE.to_owned(), free());
        }
        Form::Nullable(form) | Form::List(form) | Form::Map(form) => collect(form, all),
        Form::Boolean | Form::Whole { .. } | Form::Number(_) | Form::String | Form::Shape(_) => {}
    }
}

fn identifier(id: &Id) -> Value {
    let (min, max) = id.length;
    json!({
        "type": "string",
        "description": id.what,
        "pattern": (id.pattern)(),
        "minLength": min,
        "maxLength": max,
    })
}

/// Each keyword concerns values of one type only.
fn free() -> Value {
    let storable = r"^[^\u0000]*$";
    json!({
        "description": format!("Any JSON of at most {FREE_JSON_BYTES_MAX} bytes, without NUL in its strings."),
        "type": ["null", "boolean", "number", "string", "array", "object"],
        "pattern": storable,
        "items": reference(FREE),
        "propertyNames": { "pattern": storable },
        "additionalProperties": reference(FREE),
    })
}

fn object(shape: &Shape) -> Value {
    let described = |field: &Field| {
        let mut schema = of(field.form, field.rules);
        schema["description"] = prose(field.doc).into();
        (field.name.to_owned(), schema)
    };
    let properties: Map<String, Value> = shape.fields.iter().map(described).collect();
    // An answer has every field.
    let required = shape.fields.iter().filter(|field| !shape.strict || !field.is_optional());
    let required: Vec<&str> = required.map(|field| field.name).collect();
    let mut schema = json!({
        "type": "object",
        "description": prose(shape.doc),
        "properties": properties,
        "required": required,
    });
    if shape.strict {
        schema["additionalProperties"] = false.into();
    }
    if matches!(NewToken::FORM, Form::Shape(name) if *name == shape.name) {
        schema["anyOf"] = TOKEN_FORMS.iter().map(token).collect();
    }
    schema
}

/// One way to make a token.
fn token(TokenForm { roles, label, agent, certificate }: &TokenForm) -> Value {
    let roles: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    let is_named = agent.is_some();
    let agent = agent.as_ref().map_or_else(|| json!({ "type": "null" }), text);
    let mut schema = json!({
        "properties": { "role": { "enum": roles }, "label": text(label), "agent": agent },
    });
    if !certificate {
        schema["properties"]["certificate"] = json!({ "type": "null" });
    }
    if is_named {
        schema["required"] = json!(["agent"]);
    }
    schema
}
