//! The interface for Aztec's programs: requests and answers.
//!
//! `tests/aztec/v4.json` and `v5.json` are what the client, the facade and the agent of `@aztec/prover-client` 4.1.2
//! and 5.2.0 sent to a stub, byte for byte: broker/aztec-test/record.mjs wrote them.

use std::io::Read as _;
use std::time::Duration;

use crate::support::aztec::{Aztec, INPUTS, PROOF, gzip, id, job, quick, state};
use flate2::read::GzDecoder;
use rollmill_broker::Config;
use rollmill_broker::store::{Role, Tenant};
use rollmill_broker_client::{Digest, NewToken};
use rollmill_broker_testing::TestSchema;
use rollmill_service::Secret;
use serde_json::{Value, json};

/// Goal: what the real clients send is understood, and every answer is of the form that their schemas read.
/// Method: the recorded requests of each version, in their order, with the path and the compression that they had.
#[tokio::test]
async fn what_the_clients_of_each_version_sent_is_answered() {
    for recorded in [include_str!("aztec/v4.json"), include_str!("aztec/v5.json")] {
        let aztec = Aztec::with(quick()).await;
        let mut answers = Vec::new();
        for request in serde_json::from_str::<Vec<Value>>(recorded).unwrap() {
            let body = request["body"].as_str().unwrap();
            let mut post = aztec.post(&aztec.path);
            post = post.header("accept-encoding", "gzip");
            post = match request["headers"].get("content-encoding") {
                Some(_) => post.header("content-encoding", "gzip").body(gzip(body.as_bytes())),
                None => post.body(body.to_owned()),
            };
            let answer = post.send().await.unwrap();
            assert_eq!(answer.status(), 200);
            let is_gzip = answer.headers().get("content-encoding").is_some();
            let bytes = answer.bytes().await.unwrap();
            let mut text = String::new();
            match is_gzip {
                true => _ = GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap(),
                false => text = String::from_utf8(bytes.into()).unwrap(),
            }
            let calls: Value = serde_json::from_str(body).unwrap();
            let items: Vec<Value> = serde_json::from_str(&text).unwrap();
            assert_eq!(items.len(), calls.as_array().unwrap().len());
            for (n, item) in items.into_iter().enumerate() {
                assert_eq!(item["id"], calls[n]["id"]);
                answers.push((calls[n]["params"].clone(), item["result"].clone()));
            }
        }
        let job = answers[0].0[0].clone();
        let id = &job["id"];
        let results: Vec<&Value> = answers.iter().map(|(_, result)| result).collect();
        assert_eq!(*results[0], state("not-found"), "a new job");
        assert_eq!(results[1]["job"], job, "the job comes back as it was enqueued");
        assert!(results[1]["time"].as_u64().unwrap() > 1_700_000_000_000);
        // The last of these releases the job, which may be granted again from then on.
        assert!(results[2..5].iter().all(|result| result.is_null()), "there is one job");
        let fulfilled = json!({ "status": "fulfilled", "value": answers[7].0[1] });
        assert_eq!(*results[7], Value::Null, "the result is reported");
        assert_eq!(*results[8], fulfilled);
        assert_eq!(*results[9], json!([id]), "in the list of the last 30 s");
        assert_eq!(*results[10], json!([id]));
        assert_eq!(*results[11], Value::Null, "a settled job is not cancelled");
        assert_eq!(results[12..], [&json!([id]), &fulfilled]);
        aztec.broker.stop().await;
    }
}

/// Goal: a call that is wrong is answered for itself, in the form and with the numbers of Aztec's server.
#[tokio::test]
async fn each_wrong_call_has_an_error_of_its_own() {
    let aztec = Aztec::with(quick()).await;
    let id = id(5, "a");
    let with = |field: &str, value: Value| {
        let mut job = job(&id);
        job[field] = value;
        json!([job])
    };
    let long = vec!["x"; 1001];
    for (code, method, params, says) in [
        (-32601, "constructor", json!([]), "Method not found: proverBroker_constructor"),
        (-32701, "enqueueProvingJob", json!([]), "Required (job)"),
        (-32701, "enqueueProvingJob", Value::Null, "Required (job)"),
        (-32701, "enqueueProvingJob", json!({}), "(params)"),
        (-32701, "enqueueProvingJob", with("id", json!("5:PARITY_BASE:zz")), "EPOCH:TYPE:SHA256"),
        (-32701, "enqueueProvingJob", with("id", json!(5)), "(job)"),
        (
            -32701,
            "enqueueProvingJob",
            with("type", json!(14)),
            "14 is not the number of PARITY_BASE: 16",
        ),
        (-32701, "enqueueProvingJob", with("epochNumber", json!(6)), "not the epoch of the id"),
        (-32701, "enqueueProvingJob", with("epochNumber", json!(-6)), "(job)"),
        (-32701, "enqueueProvingJob", with("inputsUri", Value::Null), "(job)"),
        (-32701, "getCompletedJobs", json!(["x"]), "(ids)"),
        (-32701, "getCompletedJobs", json!([long]), "more than 1000 items"),
        (-32701, "getProvingJob", json!([{}]), "(filter)"),
        (-32701, "getProvingJob", json!([{ "allowList": vec![0; 65] }]), "more than 64 items"),
        (-32701, "reportProvingJobProgress", json!([id]), "Required (startedAt)"),
        (-32701, "reportProvingJobSuccess", json!([id, 5]), "(resultUri)"),
        (-32701, "getProvingJobStatus", json!([1, 2, 3, 4, 5, 6, 7, 8, 9]), "more than 8 items"),
    ] {
        let (got, message) = aztec.error(method, params.clone()).await;
        assert_eq!(got, code, "{method} {params}: {message}");
        assert!(message.contains(says), "{method} {params}: {message}");
    }
    // Others in the list are answered as if they were alone.
    let call = |id: Value, method: &str| json!({ "id": id, "method": method, "params": [[]] });
    let body = json!([
        call(json!("a"), "proverBroker_getCompletedJobs"),
        5,
        call(json!({}), "x"),
        null,
        call(json!(2), "provingJobProducer_getCompletedJobs"),
        call(json!(3), "provingJobSource_getCompletedJobs")
    ]);
    let (status, answer) = aztec.send(&body).await;
    let codes: Vec<i64> =
        (0..6).map(|n| answer[n]["error"]["code"].as_i64().unwrap_or_default()).collect();
    assert_eq!(
        (status.as_u16(), codes.as_slice()),
        (200, &[0, -32600, -32600, -32600, 0, -32601][..])
    );
    assert_eq!((&answer[0]["id"], &answer[1]["id"]), (&json!("a"), &Value::Null));
    // One call without a list: its error has a status of its own.
    let (status, answer) = aztec.send(&call(json!(1), "proverBroker_getCompletedJobs")).await;
    assert_eq!(
        (status.as_u16(), answer),
        (200, json!({ "jsonrpc": "2.0", "id": 1, "result": [] }))
    );
    let (status, answer) = aztec.send(&call(json!(1), "proverBroker_x")).await;
    assert_eq!((status.as_u16(), &answer["error"]["code"]), (400, &json!(-32601)));
    aztec.broker.stop().await;
}

/// Goal: nothing from outside is unbounded. Method: a body of each kind that goes beyond a bound.
#[tokio::test]
async fn what_is_too_much_is_rejected_as_a_whole() {
    let aztec = Aztec::with(Config { aztec_body_bytes_max: 10_000, ..quick() }).await;
    let call = json!({ "id": 1, "method": "proverBroker_getCompletedJobs", "params": [[]] });
    let (status, answer) = aztec.send(&json!(vec![call.clone(); 101])).await;
    let says = "Batch request exceeds maximum allowed size of 100";
    assert_eq!((status.as_u16(), &answer["error"]["code"]), (400, &json!(-32600)));
    assert_eq!(answer["error"]["message"], says);
    let (status, answer) = aztec.send(&json!(vec![call; 100])).await;
    assert_eq!((status.as_u16(), answer.as_array().unwrap().len()), (200, 100));
    assert_eq!(aztec.send(&json!([])).await.0, 400);

    // What is nested deeply is no call.
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let answer = aztec.post(&aztec.path).body(deep).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer[0]["error"]["code"], -32600);
    let huge = vec![b' '; 11_025];
    let inflated = gzip(&vec![b' '; 4 << 20]);
    let post = |encoding: &str, body: Vec<u8>| {
        aztec.post(&aztec.path).header("content-encoding", encoding.to_owned()).body(body).send()
    };
    for (status, code, encoding, body) in [
        (400, json!(-32700), "identity", b"[{\"a\":".to_vec()),
        (400, json!(-32700), "identity", vec![0xff]),
        (400, json!(-32700), "identity", Vec::new()),
        (413, Value::Null, "identity", huge),
        (413, Value::Null, "gzip", inflated),
        (400, Value::Null, "gzip", b"not gzip".to_vec()),
        (400, Value::Null, "br", b"[]".to_vec()),
    ] {
        let length = body.len();
        let answer = post(encoding, body).await.unwrap();
        assert_eq!(answer.status(), status, "{encoding}, {length} bytes");
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["error"]["code"], code, "{encoding}, {length} bytes: {answer}");
    }
    let url = rollmill_broker::url_of(aztec.broker.address);
    for (status, kind) in [(415, "text/plain"), (400, "application/octet-stream")] {
        let post = aztec.http.post(format!("{url}{}", aztec.path)).header("content-type", kind);
        assert_eq!(post.body("[]").send().await.unwrap().status(), status, "{kind}");
    }
    aztec.broker.stop().await;
}

/// Goal: overload and outages are answered with a status that the clients repeat after, never with an error of
/// a call, which fails the job for good.
#[tokio::test]
async fn an_outage_is_answered_503() {
    let aztec = Aztec::with(quick()).await;
    let store = aztec.store().await;
    aztec.enqueue(&id(5, "a")).await;
    sqlx::query("ALTER TABLE job RENAME TO gone").execute(store.pool()).await.unwrap();
    for (method, params) in [
        ("enqueueProvingJob", json!([job(&id(5, "b"))])),
        ("getProvingJobStatus", json!([id(5, "a")])),
        ("getCompletedJobs", json!([[]])),
        ("reportProvingJobSuccess", json!([id(5, "a"), PROOF])),
    ] {
        let body =
            json!([{ "id": 1, "method": format!("proverBroker_{method}"), "params": params }]);
        let answer = aztec.post(&aztec.path).body(body.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 503, "{method}");
        assert_eq!(answer.headers()["retry-after"], "1");
    }
    sqlx::query("ALTER TABLE gone RENAME TO job").execute(store.pool()).await.unwrap();
    assert_eq!(aztec.status(&id(5, "a")).await, state("in-queue"));
    aztec.broker.stop().await;
}

/// Goal: a token opens its own tenant's jobs, for its own role.
#[tokio::test]
async fn tenants_with_the_same_ids_do_not_meet() {
    let schema = TestSchema::new().await;
    let store = schema.store().await;
    let tenant = |name: &str| Tenant(name.into());
    let mut tokens = Vec::new();
    for (label, role, of) in [
        ("p4", Role::Producer, "four"),
        ("a4", Role::Agent, "four"),
        ("p6", Role::Producer, "six"),
        ("a6", Role::Agent, "six"),
        ("r", Role::Reader, "four"),
        ("o", Role::Operator, "root"),
    ] {
        tokens.push(store.add_token(label, role, &tenant(of)).await.unwrap());
    }
    let [p4, a4, p6, a6, reader, root] = <[String; 6]>::try_from(tokens).unwrap();
    let config = Config { aztec_root_token: Some(Secret::generated(root)), ..quick() };
    let broker = schema.broker_with(config).await;
    let mut aztec = Aztec {
        schema,
        broker,
        http: rollmill_service::untimed_http_client(),
        path: format!("/aztec/{p4}"),
    };
    let digest = Digest::of(b"x");
    let merge = format!("5:CHECKPOINT_MERGE_ROLLUP:{digest}");
    let typed = |number: u32| json!([{ "id": merge, "type": number, "epochNumber": 5, "inputsUri": INPUTS }]);
    assert_eq!(aztec.result("enqueueProvingJob", typed(14)).await, state("not-found"));
    let (code, message) = aztec.error("enqueueProvingJob", typed(12)).await;
    assert_eq!((code, message), (-32702, format!("Duplicate proving job ID: {merge}")));

    aztec.path = format!("/aztec/{p6}");
    assert_eq!(aztec.status(&merge).await, state("not-found"));
    assert_eq!(aztec.result("enqueueProvingJob", typed(12)).await, state("not-found"));
    aztec.path = format!("/aztec/{a6}");
    assert_eq!(aztec.get().await["job"]["type"], 12);
    aztec.result("reportProvingJobSuccess", json!([merge, "data:,six"])).await;
    aztec.path = format!("/aztec/{a4}");
    assert_eq!(aztec.get().await["job"]["type"], 14);
    aztec.path = format!("/aztec/{p4}");
    assert_eq!(aztec.status(&merge).await, state("in-progress"));
    aztec.path = format!("/aztec/{p6}");
    assert_eq!(aztec.status(&merge).await["value"], "data:,six");

    // Without a path, in the name of the token that the setting names.
    aztec.path = "/".into();
    assert_eq!(aztec.status(&merge).await, state("not-found"));
    assert_eq!(aztec.enqueue(&id(5, "a")).await, state("not-found"));
    assert_eq!(aztec.get().await["job"]["id"], json!(id(5, "a")));

    let get = json!([{ "id": 1, "method": "proverBroker_getProvingJob", "params": [] }]);
    let status =
        json!([{ "id": 1, "method": "proverBroker_getProvingJobStatus", "params": ["x"] }]);
    for (code, path, body) in [
        (401, "/aztec/rm_wrong".to_owned(), &get),
        (403, format!("/aztec/{p4}"), &get),
        (403, format!("/aztec/{a4}"), &status),
        (403, format!("/aztec/{reader}"), &status),
        (404, "/aztec".to_owned(), &status),
        (404, "/aztec/".to_owned(), &status),
    ] {
        let answer = aztec.post(&path).body(body.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), code);
    }
    let url = rollmill_broker::url_of(aztec.broker.address);
    let health = aztec.http.get(format!("{url}/status")).send().await.unwrap();
    assert_eq!(
        (health.status().as_u16(), health.text().await.unwrap()),
        (200, r#"{"ok":true}"#.into())
    );
    aztec.broker.stop().await;
}

/// Goal: programs of another version notice it before they take a job: each tenant has its own headers, or none.
#[tokio::test]
async fn answers_have_the_headers_that_are_pinned_for_their_tenant() {
    let schema = TestSchema::new().await;
    let store = schema.store().await;
    let mut paths = Vec::new();
    for (tenant, pinned) in [("four", Some("44")), ("six", None)] {
        let of = Tenant(tenant.into());
        let token = store.add_token(tenant, Role::Producer, &of).await.unwrap();
        paths.push((format!("/aztec/{token}"), pinned));
    }
    let root = store.add_token("root", Role::Operator, &Tenant("root".into())).await.unwrap();
    paths.push(("/".to_owned(), Some("1")));
    let config = Config {
        aztec_root_token: Some(Secret::generated(root)),
        aztec_headers: vec!["four/rollupVersion=44".into(), "root/rollupVersion=1".into()],
        ..quick()
    };
    let broker = schema.broker_with(config).await;
    let http = rollmill_service::untimed_http_client();
    let aztec = Aztec { schema, broker, http, path: String::new() };
    let id = id(5, "x");
    let ask = json!([{ "id": 1, "method": "proverBroker_getProvingJobStatus", "params": [id] }]);
    for (path, pinned) in paths {
        let answer = aztec.post(&path).body(ask.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let header = answer.headers().get("x-aztec-rollupVersion");
        assert_eq!(header.map(|value| value.to_str().unwrap()), pinned, "{path}");
        let all = answer.headers().keys().filter(|name| name.as_str().starts_with("x-aztec-"));
        assert_eq!(all.count(), usize::from(pinned.is_some()), "{path}");
    }
    aztec.broker.stop().await;
}

/// Goal: a token sends no more than it may here either, and is told so with a status that the clients repeat after.
/// What keeps a lease or a result is served all the same.
#[tokio::test]
async fn a_token_has_its_limit_of_requests_here_too() {
    let schema = TestSchema::new().await;
    let store = schema.store().await;
    let mut paths = Vec::new();
    for role in [Role::Producer, Role::Fleet] {
        let new =
            NewToken { requests_per_second: Some(1), ..NewToken::new(&role.to_string(), role) };
        let token = store.create_token(&Tenant::default(), &new).await.unwrap().token;
        paths.push(format!("/aztec/{token}"));
    }
    let broker = schema.broker_with(quick()).await;
    let http = rollmill_service::untimed_http_client();
    let mut aztec = Aztec { schema, broker, http, path: String::new() };
    let call = |method: &str, params: Value| json!([{ "id": 1, "method": format!("proverBroker_{method}"), "params": params }]);
    let asks = [call("getCompletedJobs", json!([[]])), call("getProvingJob", json!([]))];
    for (path, body) in paths.iter().zip(asks) {
        aztec.path.clone_from(path);
        assert_eq!(aztec.send(&body).await.0, 200);
        // A second allows another one, so a slow machine sends a few more.
        let refused = async {
            loop {
                let answer = aztec.post(path).body(body.to_string()).send().await.unwrap();
                if answer.status() != 200 {
                    return answer;
                }
            }
        };
        let refused = tokio::time::timeout(Duration::from_secs(60), refused).await.unwrap();
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.headers()["retry-after"], "1");
        let error: Value = refused.json().await.unwrap();
        assert_eq!(error["code"], "BRK-046", "{error}");
    }
    let report = call("reportProvingJobProgress", json!([id(5, "a"), 1, { "allowList": [16] }]));
    for _ in 0..5 {
        assert_eq!(aztec.send(&report).await.0, 200);
    }
    aztec.broker.stop().await;
}

/// Goal: a proof of 40 MB passes, compressed and not, and lies in the object store; answers in one request
/// hold about one body of proofs, and those left out can be asked for again.
#[tokio::test]
async fn large_proofs_pass_and_answers_are_bounded() {
    let aztec = Aztec::with(quick()).await;
    let (a, b) = (id(5, "a"), id(5, "b"));
    for (id, compress) in [(&a, false), (&b, true)] {
        aztec.enqueue(id).await;
        let uri = format!("data:,{}", "x".repeat(40 << 20));
        let method = "proverBroker_reportProvingJobSuccess";
        let body = json!([{ "id": 1, "method": method, "params": [id, uri] }]).to_string();
        let post = aztec.post(&aztec.path);
        let post = match compress {
            true => post.header("content-encoding", "gzip").body(gzip(body.as_bytes())),
            false => post.body(body),
        };
        assert_eq!(post.send().await.unwrap().status(), 200);
    }
    let status =
        |id: &str| json!({ "id": 1, "method": "proverBroker_getProvingJobStatus", "params": [id] });
    let (_, both) = aztec.send(&json!([status(&a), status(&b)])).await;
    assert_eq!(both[0]["result"]["value"].as_str().unwrap().len(), 6 + (40 << 20));
    assert_eq!(both[1]["error"]["code"], -32702);
    assert_eq!(aztec.status(&b).await["value"].as_str().unwrap().len(), 6 + (40 << 20));
    let objects = std::fs::read_dir(aztec.schema.objects().join("default/5")).unwrap();
    assert_eq!(objects.count(), 1, "both proofs are the same bytes");
    aztec.broker.stop().await;
}
