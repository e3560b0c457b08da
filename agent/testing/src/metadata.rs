//! The metadata service of a cloud, which says what happens to the machine.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Beginning of a request's first line, status and body of its answer.
pub type Answer = (&'static str, u16, String);

/// A metadata service on a port of this machine. It ends with the runtime that it was started in.
#[derive(Debug)]
pub struct MetadataService {
    url: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    answers: Mutex<Vec<Answer>>,
    /// Of the requests so far, in lower case.
    heads: Mutex<Vec<String>>,
}

impl MetadataService {
    /// A service with these answers; to any other request it answers with status 400.
    pub async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of this machine");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let shared =
            Arc::new(Shared { answers: Mutex::new(answers), heads: Mutex::new(Vec::new()) });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whoever asks may end before it has the answer.
                let _ = serving.serve(stream).await;
            }
        });
        Self { url, shared }
    }

    /// Its URL without a path.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Answers like this from now on.
    pub fn set_answers(&self, answers: Vec<Answer>) {
        *self.shared.answers.lock() = answers;
    }

    /// The heads of the requests so far, in lower case.
    pub fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().clone()
    }
}

impl Shared {
    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let (status, body) = {
            let answers = self.answers.lock();
            let found = answers.iter().find(|(start, ..)| head.starts_with(start));
            found.map_or((400, String::new()), |(_, status, body)| (*status, body.clone()))
        };
        self.heads.lock().push(head.to_lowercase());
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).await
    }
}
