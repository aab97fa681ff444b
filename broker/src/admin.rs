//! Metrics and health over HTTP.

use std::{io, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{config::HttpAddress, service::Runtime};

/// A server for `/metrics`, `/health/live` and `/health/ready`.
pub(crate) struct AdminServer {
    url: String,
    stop: CancellationToken,
}

impl AdminServer {
    /// Where it is.
    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// Ends it.
    pub(crate) fn stop(self) {
        self.stop.cancel();
    }
}

/// The address that could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve metrics and health on {address}: {source}")]
pub(crate) struct AdminError {
    address: String,
    source: io::Error,
}

/// Serves until stopped, also while the broker drains.
pub(crate) async fn serve(address: &HttpAddress, runtime: &Arc<Runtime>) -> Result<AdminServer, AdminError> {
    let failed = |source| AdminError { address: address.to_string(), source };
    let listener = TcpListener::bind((address.host.as_str(), address.port)).await.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/health/live", get(|| async { "ok\n" }))
        .route("/health/ready", get(ready))
        .with_state(Arc::clone(runtime));
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    // Not tracked: it ends with `stop`, after everything that is.
    tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(stopped.cancelled_owned());
        if let Err(error) = served.await {
            tracing::error!(%error, "metrics and health are served no more");
        }
    });
    Ok(AdminServer { url: address.with_port(port).to_string(), stop })
}

async fn metrics(State(runtime): State<Arc<Runtime>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], runtime.render_metrics())
}

async fn ready(State(runtime): State<Arc<Runtime>>) -> impl IntoResponse {
    if runtime.shared.draining.load(std::sync::atomic::Ordering::Acquire) {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    (StatusCode::OK, "ok\n")
}
