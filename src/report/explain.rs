//! What a check means, for `--explain CHECK_ID`.

/// What an indicator counts, by the last part of a check's id.
const MEANINGS: &[(&str, &str)] = &[
    (
        "latency",
        "the share of answers slower than the limit, from when each request was due to the end of \
         its answer; @class looks at one class of statuses alone, so that quick refusals hide \
         nothing",
    ),
    ("http5xx", "the share of answers of status 500 and above"),
    ("network", "the share of requests that got no whole answer"),
    ("unknownStatus", "the share of answers of a status that nobody expects of this route"),
    ("firstByte", "the share of streams whose first byte came after the limit"),
    ("streamCut", "the share of streams that ended without their clean finish"),
    ("slowTail", "the share of answers far above the median of both arms"),
    ("p50", "answers slower than the median of both arms together"),
    ("p95", "answers slower than the 95th percentile of both arms together"),
    ("p99", "answers slower than the 99th percentile of both arms together"),
    ("p995", "answers slower than the 99.5th percentile of both arms together"),
    ("scenario", "whether the scenario was run at all"),
    ("short", "how fast the newest run burns its error budget; 1 spends it just in its window"),
    ("long", "how fast the pooled last runs burn their error budget"),
];

/// By how an id begins, for checks that count no indicator.
const KINDS: &[(&str, &str)] = &[
    ("probe.", "one request to the running server whose whole answer must be as promised"),
    ("burn.", "how fast an error budget is spent"),
    ("snapshot.", "one value of the server's own snapshot against the gate's policy"),
    ("lint.", "a policy file, an owner or a page of the runbook that is missing or wrong"),
    ("steps.", "one step of the release gate"),
    ("gameday.", "one hypothesis of a game day: what must hold while a fault is in force"),
    ("canary.", "one metric of the candidate against the control, in paired blocks"),
];

/// What a check of that id means; `None` if no check is called so.
pub fn meaning(id: &str) -> Option<&'static str> {
    let sli = id.rsplit('.').next()?.split('@').next()?;
    let by = |table: &[(&str, &'static str)], fits: &dyn Fn(&str) -> bool| {
        table.iter().find(|(name, _)| fits(name)).map(|(_, meaning)| *meaning)
    };
    by(MEANINGS, &|name| name == sli).or_else(|| by(KINDS, &|name| id.starts_with(name)))
}
