//! Serves a folder as buckets of S3, so that a broker can be tried and measured with a bucket on a machine without one.
//! Nothing that holds work: it keeps no second copy, and is no faster than one file system.
//!
//! ```sh
//! mkdir -p /tmp/buckets/artifacts
//! export AWS_ACCESS_KEY_ID=tester AWS_SECRET_ACCESS_KEY=tester-secret
//! cargo run -p rollmill-broker --example bucket -- 127.0.0.1:9000 /tmp/buckets &
//! rollmill-broker --object-store s3://artifacts --object-store-endpoint http://127.0.0.1:9000
//! ```

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, folder] = arguments.as_slice() else {
        eprintln!("usage: bucket ADDRESS:PORT FOLDER");
        return ExitCode::from(2);
    };
    match serve(address, Path::new(folder)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bucket: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves the folders in `folder` as buckets, to whoever has the key of the environment, until the process ends.
async fn serve(address: &str, folder: &Path) -> Result<(), Box<dyn Error>> {
    let variable = |name| std::env::var(name).map_err(|error| format!("{name}: {error}"));
    let (key, secret) = (variable("AWS_ACCESS_KEY_ID")?, variable("AWS_SECRET_ACCESS_KEY")?);
    let files = s3s_fs::FileSystem::new(folder).map_err(|error| format!("{error:?}"))?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(key, secret));
    let service = builder.build();
    let listener = TcpListener::bind(address).await?;
    println!("http://{}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        let service = service.clone();
        tokio::spawn(async move {
            let http = hyper::server::conn::http1::Builder::new();
            // A client that goes away ends its own connection only.
            let _ = http.serve_connection(TokioIo::new(socket), service).await;
        });
    }
}
