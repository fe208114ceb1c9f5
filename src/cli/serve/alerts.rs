//! Alerts: their way to Sentry past breaker and bulkhead.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sendcat_actors::ports::AlertSink;
use sendcat_state::key::ProviderId;

use crate::http::Shared;
use crate::telemetry::sentry::{Post, Posted, Posting, SentrySink};
use crate::upstream::call::Upstream;
use crate::upstream::sentry;

/// Has alerts raised, and sent where a DSN says, for as long as the process lives.
pub(super) fn begin(shared: &Shared, upstream: Upstream) {
    let config = shared.config();
    let deadline = config.deadline(ProviderId::SentryIngest);
    let post: Arc<dyn Post> = Arc::new(ByUpstream { upstream, deadline });
    let sink = config.ops.rate_limit_sentry_dsn.as_ref().and_then(|dsn| {
        let unusable = |error| tracing::error!(%error, "alerts are raised and go nowhere");
        SentrySink::new(dsn, post).map_err(unusable).ok()
    });
    let sink = sink.map(|sink| Arc::new(sink) as Arc<dyn AlertSink>);
    actix::spawn(shared.tree.monitor.clone().watch(sink));
}

/// Carries envelopes by the one way out.
struct ByUpstream {
    upstream: Upstream,
    deadline: Duration,
}

impl Post for ByUpstream {
    fn post(&self, posting: Posting) -> BoxFuture<'static, Result<Posted, String>> {
        let (upstream, deadline) = (self.upstream.clone(), self.deadline);
        Box::pin(async move {
            let Posting { url, auth, body } = posting;
            let answer = sentry::post(&upstream, (url, &auth), body, deadline).await;
            let sentry::Ingested { status, limits, retry_after } =
                answer.map_err(|error| error.to_string())?;
            Ok(Posted { status, limits, retry_after })
        })
    }
}
