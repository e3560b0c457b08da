//! What `rollmill-broker doctor` says of a running broker: what waits for somebody, with the command that helps.

use rollmill_broker_client::{OutlookView, StatusResponse, UnableView};

/// What was looked at, and what was found or is wrong.
pub(crate) type Line = (&'static str, Result<String, String>);

/// The lines about epochs, jobs and agents.
pub(crate) fn of_cluster(status: &StatusResponse) -> Vec<Line> {
    vec![
        ("epochs", epochs(&status.epochs)),
        ("waiting jobs", waiting(&status.unable)),
        ("dead letters", dead_letters(status.dead_letters)),
        ("agents", agents(status)),
    ]
}

fn epochs(epochs: &[OutlookView]) -> Result<String, String> {
    let late: Vec<String> =
        epochs.iter().filter(|epoch| epoch.at_risk).map(|epoch| epoch.epoch.to_string()).collect();
    match late.is_empty() {
        true => Ok(format!("{} unfinished, none at risk", epochs.len())),
        false => Err(format!(
            "{} of {} at risk to miss their deadline: {}; start agents, `rollmill-broker autoscale` says how many",
            late.len(),
            epochs.len(),
            late.join(", ")
        )),
    }
}

fn waiting(unable: &[UnableView]) -> Result<String, String> {
    let Some(UnableView { kind, version, class, jobs, since_seconds }) = unable.first() else {
        return Ok("each type has a live agent that can do it".to_owned());
    };
    let others = match unable.len() - 1 {
        0 => String::new(),
        count => format!(", and jobs of {count} other types"),
    };
    Err(format!(
        "{jobs} of type {kind}, version {version}, class {class} have waited {since_seconds:.0} s without a live \
         agent that can do them{others}; start one, or see why those of `rollmill-broker status` cannot"
    ))
}

fn dead_letters(count: u64) -> Result<String, String> {
    match count {
        0 => Ok("none".to_owned()),
        _ => Err(format!(
            "{count}; `rollmill-broker dead-letters list` says why, and `dead-letters replay` or `drop` ends them"
        )),
    }
}

fn agents(status: &StatusResponse) -> Result<String, String> {
    let quarantined = status.agents.iter().filter(|agent| agent.quarantined);
    let names: Vec<&str> = quarantined.map(|agent| agent.agent.as_str()).collect();
    match names.is_empty() {
        true => Ok(format!("{} known, none in quarantine", status.agents.len())),
        false => Err(format!(
            "in quarantine for wrong results: {}; test their devices, then `rollmill-broker pardon NAME`",
            names.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use rollmill_broker_client::SizeClass;

    use super::*;

    fn sound() -> StatusResponse {
        serde_json::from_value(serde_json::json!({
            "queue": [], "agents": [], "dead_letters": 0, "unable": [], "epochs": []
        }))
        .unwrap()
    }

    fn outlook(epoch: u64, at_risk: bool) -> OutlookView {
        OutlookView {
            epoch,
            jobs: 1,
            finish_in_seconds: None,
            deadline_in_seconds: Some(60.0),
            at_risk,
        }
    }

    fn wrong(status: &StatusResponse) -> Vec<Line> {
        of_cluster(status).into_iter().filter(|(_, found)| found.is_err()).collect()
    }

    #[test]
    fn what_waits_for_somebody_is_wrong_and_says_what_helps() {
        assert!(wrong(&sound()).is_empty());
        let mut status = sound();
        status.epochs = vec![outlook(7, true), outlook(8, false)];
        status.dead_letters = 3;
        let unable = |kind: &str| UnableView {
            kind: kind.into(),
            version: "v1".into(),
            class: SizeClass::SMALLEST,
            jobs: 12,
            since_seconds: 40.2,
        };
        status.unable = vec![unable("leaf"), unable("root")];
        let found = wrong(&status);
        for (at, (what, parts)) in [
            ("epochs", ["1 of 2 at risk", ": 7;", "autoscale"]),
            ("waiting jobs", ["12 of type leaf", "40 s", "1 other types"]),
            ("dead letters", ["3;", "dead-letters list", "replay"]),
        ]
        .into_iter()
        .enumerate()
        {
            let (name, text) = (found[at].0, found[at].1.as_ref().unwrap_err());
            assert_eq!(name, what);
            assert!(parts.iter().all(|part| text.contains(part)), "{what}: {text}");
        }
        assert_eq!(found.len(), 3);
    }
}
