//! Grafana dashboards from one short declaration: [`DECLARED`] says what they show, `cargo xtask gen` writes a
//! file of JSON for each, as Grafana imports and provisions it.

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::generate::Output;
use crate::tree::Tree;

/// The declaration.
pub(crate) const DECLARED: &str = "deploy/grafana/dashboards.toml";
const FOLDER: &str = "deploy/grafana";
/// Grafana's grid.
const COLUMNS: u64 = 24;
const WIDTH: u64 = 8;
const HEIGHT: u64 = 7;
/// Height of a panel with one number.
const STAT_HEIGHT: u64 = 4;
/// The version of Grafana's format that the files have. Newer ones read it.
const SCHEMA: u64 = 39;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    dashboard: Vec<Dashboard>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dashboard {
    pub(crate) name: String,
    title: String,
    /// A metric whose values of `instance` are offered as `$instance`.
    pub(crate) instances: Option<String>,
    /// The default of `$price`.
    price: Option<String>,
    pub(crate) panels: Vec<Panel>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Timeseries,
    Stat,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Panel {
    pub(crate) title: String,
    unit: String,
    #[serde(default)]
    kind: Kind,
    width: Option<u64>,
    /// Expression and legend.
    pub(crate) queries: Vec<(String, String)>,
    /// When the panel has data, if that is not always.
    empty_unless: Option<String>,
}

/// The dashboards as declared.
pub(crate) fn declared(tree: &Tree) -> anyhow::Result<Vec<Dashboard>> {
    let text = tree.text(DECLARED).with_context(|| format!("{DECLARED} is missing"))?;
    let file: File =
        toml::from_str(text).with_context(|| format!("{DECLARED} is not as expected"))?;
    Ok(file.dashboard)
}

/// A file for each dashboard.
pub(crate) fn files(tree: &Tree) -> anyhow::Result<Vec<Output>> {
    let mut outputs = Vec::new();
    for dashboard in declared(tree)? {
        let mut text = serde_json::to_string_pretty(&to_json(&dashboard)?)?;
        text.push('\n');
        outputs.push(Output::text(&format!("{FOLDER}/{}.json", dashboard.name), text));
    }
    Ok(outputs)
}

fn to_json(dashboard: &Dashboard) -> anyhow::Result<Value> {
    let (mut x, mut y, mut row) = (0, 0, 0);
    let mut panels = Vec::new();
    for (index, panel) in dashboard.panels.iter().enumerate() {
        let name = format!("panel `{}` of `{}`", panel.title, dashboard.name);
        ensure!(!panel.queries.is_empty() && panel.queries.len() <= 26, "{name}: 1 to 26 queries");
        let width = panel.width.unwrap_or(WIDTH);
        ensure!((1..=COLUMNS).contains(&width), "{name}: 1 to {COLUMNS} columns");
        let height = if panel.kind == Kind::Stat { STAT_HEIGHT } else { HEIGHT };
        if x + width > COLUMNS {
            (x, y, row) = (0, y + row, 0);
        }
        panels.push(panel_json(panel, index + 1, [x, y, width, height]));
        (x, row) = (x + width, row.max(height));
    }
    Ok(json!({
        "uid": format!("rollmill-{}", dashboard.name),
        "title": dashboard.title,
        "tags": ["rollmill"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": true,
        "time": { "from": "now-3h", "to": "now" },
        "refresh": "30s",
        "links": [{ "type": "dashboards", "tags": ["rollmill"], "title": "Rollmill", "asDropdown": true }],
        "templating": { "list": variables(dashboard) },
        "panels": panels,
    }))
}

fn variables(dashboard: &Dashboard) -> Vec<Value> {
    let mut list = vec![json!({
        "name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"
    })];
    if let Some(metric) = &dashboard.instances {
        list.push(json!({
            "name": "instance", "type": "query", "label": "Instance", "datasource": source(),
            "query": { "query": format!("label_values({metric}, instance)"), "refId": "instance" },
            "refresh": 2, "includeAll": true, "multi": true, "allValue": ".*",
            "current": { "text": "All", "value": "$__all" },
        }));
    }
    if let Some(price) = &dashboard.price {
        list.push(json!({
            "name": "price", "type": "textbox", "label": "US dollars an hour of an agent",
            "query": price, "current": { "text": price, "value": price },
        }));
    }
    list
}

fn source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn panel_json(panel: &Panel, id: usize, [x, y, w, h]: [u64; 4]) -> Value {
    let kind = match panel.kind {
        Kind::Timeseries => "timeseries",
        Kind::Stat => "stat",
    };
    let targets: Vec<Value> = ('A'..='Z')
        .zip(&panel.queries)
        .map(|(id, (expr, legend))| {
            json!({ "refId": id.to_string(), "expr": expr, "legendFormat": legend })
        })
        .collect();
    let mut value = json!({
        "id": id, "type": kind, "title": panel.title, "datasource": source(),
        "gridPos": { "x": x, "y": y, "w": w, "h": h },
        "fieldConfig": { "defaults": { "unit": panel.unit }, "overrides": [] },
        "targets": targets,
    });
    if let Some(when) = &panel.empty_unless {
        value["description"] = format!("Empty unless {when}.").into();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(panels: &str) -> anyhow::Result<Value> {
        let text = format!("[[dashboard]]\nname = \"n\"\ntitle = \"t\"\npanels = [{panels}]\n");
        let outputs = files(&Tree::of(&[(DECLARED, &text)]))?;
        assert_eq!(outputs[0].path, "deploy/grafana/n.json");
        Ok(serde_json::from_slice(&outputs[0].bytes)?)
    }

    #[test]
    fn panels_fill_rows_and_do_not_overlap() {
        let panel = |more: &str| {
            format!("{{ title = \"p\", unit = \"s\", queries = [[\"up\", \"\"]]{more} }}")
        };
        let (stat, wide) = (panel(", kind = \"stat\", width = 12"), panel(", width = 20"));
        let panels = [&stat, &stat, &panel(""), &wide, &panel("")].map(String::as_str).join(", ");
        let found = made(&panels).unwrap();
        let at = |n: usize| {
            ["x", "y", "w", "h"].map(|key| found["panels"][n]["gridPos"][key].as_u64().unwrap())
        };
        assert_eq!(at(0), [0, 0, 12, 4]);
        assert_eq!(at(1), [12, 0, 12, 4]);
        assert_eq!(at(2), [0, 4, 8, 7]);
        assert_eq!(at(3), [0, 11, 20, 7], "it does not fit beside the one before");
        assert_eq!(at(4), [0, 18, 8, 7]);
    }

    #[test]
    fn a_panel_too_wide_without_queries_or_with_an_unknown_key_is_an_error() {
        for (panel, part) in [
            ("{ title = \"p\", unit = \"s\", width = 25, queries = [[\"up\", \"\"]] }", "columns"),
            ("{ title = \"p\", unit = \"s\", queries = [] }", "queries"),
            ("{ title = \"p\", unit = \"s\", queries = [], colour = 1 }", "not as expected"),
        ] {
            let found = made(panel).unwrap_err().to_string();
            assert!(found.contains(part), "{found}");
        }
    }
}
