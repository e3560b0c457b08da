//! A request of every route, about one job of the default tenant.

use rollmill_broker_client::Digest;
use rollmill_broker_client::routes::RouteName;

/// The input of the job that the requests are about.
pub const INPUT: &[u8] = b"the input of a job of the default tenant";

/// A request that the broker takes, about things that are there in the default tenant.
pub fn request(route: RouteName) -> (String, Vec<u8>) {
    let (digest, path) = (Digest::of(INPUT), route.spec().path);
    let id = format!("7:leaf:{digest}");
    let label = "of-default";
    let path = path
        .replace("{digest}", &digest.to_string())
        .replace("{id}", &id)
        .replace("{epoch}", "7")
        .replace("{agent}", "quarantined")
        .replace("{label}", label);
    let lease = format!(r#"{{"job":"{id}","lease_epoch":1}}"#);
    let name = r#""name":"submitter","holder":"h","incarnation":"i","fence":1,"ttl_ms":1000"#;
    let ids = format!(r#"{{"ids":["{id}"]}}"#);
    let json = match route {
        RouteName::PutArtifact => {
            return (format!("{path}?epoch=7"), INPUT.to_vec());
        }
        RouteName::PutArtifacts => {
            let length = u32::try_from(INPUT.len()).unwrap().to_be_bytes();
            return (format!("{path}?epoch=7"), [&length[..], INPUT].concat());
        }
        RouteName::Enqueue => format!(r#"{{"jobs":[{{"id":"{id}","version":"v1"}}]}}"#),
        RouteName::Query | RouteName::Cancel | RouteName::ReplayDead | RouteName::DropDead => ids,
        // Without an end the stream has none.
        RouteName::Events => return (format!("{path}?overviews=1"), Vec::new()),
        RouteName::Wait => format!(r#"{{"ids":["{id}"],"wait_ms":0}}"#),
        RouteName::Changes => r#"{"wait_ms":0}"#.to_owned(),
        RouteName::Reject => format!(r#"{{"id":"{id}","result":"{digest}","reason":"r"}}"#),
        RouteName::AcquireName | RouteName::RenewName | RouteName::ReleaseName => {
            format!("{{{name}}}")
        }
        RouteName::OpenSession => {
            r#"{"agent":"a","installation":"i","capabilities":[],"class":0}"#.to_owned()
        }
        RouteName::Claim => {
            r#"{"agent":"a","capabilities":[{"kind":"leaf","version":"v1"}],"class":0,"wait_ms":0}"#
                .to_owned()
        }
        RouteName::Heartbeat => format!(r#"{{"agent":"a","leases":[{lease}]}}"#),
        RouteName::Progress => format!(r#"{{"agent":"a","lease":{lease},"progress":0.5}}"#),
        RouteName::Complete => format!(r#"{{"agent":"a","lease":{lease},"result":"{digest}"}}"#),
        RouteName::Fail => {
            format!(r#"{{"agent":"a","lease":{lease},"class":"transient","message":"m"}}"#)
        }
        RouteName::Release => format!(r#"{{"agent":"a","lease":{lease}}}"#),
        RouteName::AddToken => r#"{"label":"made-by-the-test","role":"reader"}"#.to_owned(),
        RouteName::RotateToken | RouteName::Drain => "{}".to_owned(),
        RouteName::CloseEpoch => r#"{"outcome":"final"}"#.to_owned(),
        RouteName::GetArtifact
        | RouteName::List
        | RouteName::History
        | RouteName::Epochs
        | RouteName::OpenEpoch
        | RouteName::DropEpoch
        | RouteName::Status
        | RouteName::Autoscale
        | RouteName::Pardon
        | RouteName::ListTokens
        | RouteName::RevokeToken
        | RouteName::ResumeToken
        | RouteName::Audit
        | RouteName::OpenApi => String::new(),
    };
    (path, json.into_bytes())
}
