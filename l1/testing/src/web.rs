//! An HTTP server whose answers a test sets: well-formed, hostile or none.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server answers to a GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Status and body.
    Full(u16, Vec<u8>),
    /// Closes the connection.
    Nothing,
    /// The head and half of a body; the rest never comes.
    Half(Vec<u8>),
    /// The head without a length, and zeros without end.
    Endless,
}

impl Answer {
    /// The answer of a beacon node with these blobs.
    pub fn beacon(blobs: &[&[u8]]) -> Self {
        let blobs: Vec<String> = blobs.iter().map(alloy::hex::encode_prefixed).collect();
        let body = json!({ "execution_optimistic": false, "finalized": true, "data": blobs });
        Self::Full(200, body.to_string().into_bytes())
    }

    pub fn json(value: &serde_json::Value) -> Self {
        Self::Full(200, value.to_string().into_bytes())
    }
}

type Script = Box<dyn FnMut(&str) -> Answer + Send>;

struct State {
    script: Script,
    asked: Vec<String>,
}

/// The server. It ends with the runtime of its test.
pub struct Web {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl Web {
    /// A server that answers each path, its query included, as `script` says.
    pub async fn start(script: impl FnMut(&str) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { script: Box::new(script), asked: Vec::new() }));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { url, state }
    }

    /// From now on it answers as `script` says.
    pub fn script(&self, script: impl FnMut(&str) -> Answer + Send + 'static) {
        self.state.lock().script = Box::new(script);
    }

    /// The paths that were asked for, oldest first.
    pub fn asked(&self) -> Vec<String> {
        self.state.lock().asked.clone()
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    while let Some(path) = path(&mut stream).await {
        let answer = {
            let mut state = state.lock();
            state.asked.push(path.clone());
            (state.script)(&path)
        };
        match answer {
            Answer::Full(status, body) => {
                let head = format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\n\r\n", body.len());
                if stream.write_all(&[head.as_bytes(), &body].concat()).await.is_err() {
                    return;
                }
            }
            Answer::Nothing => return,
            Answer::Half(body) => {
                let head = format!("HTTP/1.1 200 -\r\ncontent-length: {}\r\n\r\n", body.len());
                let half = [head.as_bytes(), &body[..body.len() / 2]].concat();
                let _ = stream.write_all(&half).await;
                std::future::pending::<()>().await;
            }
            Answer::Endless => {
                let _ = stream.write_all(b"HTTP/1.1 200 -\r\nconnection: close\r\n\r\n").await;
                while stream.write_all(&[b'0'; 65_536]).await.is_ok() {}
                return;
            }
        }
    }
}

/// The path of the next request; none when the peer is done.
async fn path(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read(&mut chunk).await.ok()? {
            0 => return None,
            n => bytes.extend_from_slice(&chunk[..n]),
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    Some(text.split(' ').nth(1)?.to_owned())
}
