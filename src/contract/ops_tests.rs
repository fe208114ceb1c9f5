//! What operators read, written as the interface says.

use super::*;
use serde_json::json;

#[test]
fn an_actor_is_written_as_the_interface_says() {
    let row = ActorRow {
        name: "rate_limiter-0".into(),
        status: "running".into(),
        incarnation: 2,
        restarts: Restarts { by_cause: Counts::from([("apply".into(), 1)]) },
        last_panic: None,
        mailbox_depth: 3,
        oldest_work_ms: Some(4),
        handled: 5,
    };
    let expected = json!({
        "name": "rate_limiter-0", "status": "running", "incarnation": 2,
        "restarts": {"byCause": {"apply": 1}}, "lastPanic": null,
        "mailboxDepth": 3, "oldestWorkMs": 4, "handled": 5,
    });
    assert_eq!(serde_json::to_value(&row).unwrap(), expected);
    assert_eq!(serde_json::from_value::<ActorRow>(expected).unwrap(), row);
}

#[test]
fn an_event_is_written_as_the_interface_says() {
    let row = serde_json::to_value(InboxRow::default()).unwrap();
    let expected = json!({"id": "", "source": "", "key": "", "status": "", "attempts": 0,
        "acceptedAt": "", "doneAt": null});
    assert_eq!(row, expected);
}

#[test]
fn a_snapshot_has_its_sections_even_when_there_is_nothing() {
    let snapshot = serde_json::to_value(Snapshot::default()).unwrap();
    let expected = json!({
        "generatedAt": "", "windowMinutes": 0,
        "config": {
            "rateLimits": {}, "circuits": {}, "bulkheads": {}, "toolCache": {},
            "toolCacheNamespaces": {},
            "toolJobs": {"maxPerRun": 0, "leaseMs": 0, "waitMs": 0, "pollMs": 0,
                "maxAttempts": 0, "retryBaseMs": 0, "ttlMs": 0, "claimScan": 0,
                "runMax": {}, "queueMax": {}, "maxConcurrent": 0},
            "ops": {"defaultWindowMinutes": 0, "maxRowsPerSection": 0},
        },
        "rateLimitPressure": {"summary": {}, "recentEvents": [], "recentAlerts": []},
        "circuits": [], "bulkheads": {}, "replayProtection": {"byScope": {}},
        "toolCache": {"sampledActiveEntries": 0, "byNamespace": {}},
        "toolJobs": {"byStatus": {}, "byTool": {}, "pressureByTool": {},
            "oldestQueuedAgeMs": null, "oldestRunningAgeMs": null},
        "inbox": {"byStatus": {}, "bySource": {}, "oldestAgeMs": null},
        "actors": [],
    });
    assert_eq!(snapshot, expected);
}

#[test]
fn the_cache_is_written_as_the_interface_says() {
    let held = CacheNamespace { in_force: true, ..CacheNamespace::default() };
    let namespaces = BTreeMap::from([("search_web_json_v1".to_owned(), held)]);
    let answer = serde_json::to_value(CacheAnswer { namespaces, ..CacheAnswer::default() });
    let expected = json!({"generatedAt": "", "bytes": 0, "maxBytes": 0, "hits": 0, "misses": 0,
        "namespaces": {"search_web_json_v1":
            {"inForce": true, "entries": 0, "bytes": 0, "oldestAgeMs": null}}});
    assert_eq!(answer.unwrap(), expected);
    let cleared = serde_json::to_value(CacheCleared { cleared: 3 }).unwrap();
    assert_eq!(cleared, json!({"cleared": 3}));
}
