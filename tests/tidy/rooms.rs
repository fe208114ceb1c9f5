//! The table of the rooms: what each folder may name. The map with the reasons is in README.md.
//!
//! A new folder gets a row here before its first file; a wall is moved here, in a commit of its
//! own that says why, never by the way.

/// One folder and what may be named in it. The longest folder that holds a file is its room.
pub(crate) struct Room {
    pub(crate) folder: &'static str,
    /// Rooms or modules of the same crate, by the first word after `crate::`.
    pub(crate) rooms: &'static [&'static str],
    /// Crates of ours; one that is followed by modules is open in these only.
    pub(crate) ours: &'static [(&'static str, &'static [&'static str])],
    /// Packages of others, of those in the root manifest.
    pub(crate) packages: &'static [&'static str],
}

/// Everything is open.
pub(crate) const ANY: &[&str] = &["*"];
const STATE: (&str, &[&str]) = ("sendcat_state", ANY);
/// What callers of actors hold: handles, and what these answer with.
const HANDLES: (&str, &[&str]) = (
    "sendcat_actors",
    &[
        "bulkhead",
        "circuit_breaker",
        "clock",
        "failure",
        "handle",
        "idempotency",
        "job_queue",
        "observe",
        "ports",
        "rate_limiter",
        "stream_log",
        "tree",
    ],
);

/// Every room, in the order of the map.
pub(crate) const ROOMS: &[Room] = &[
    Room {
        folder: "state/src/",
        rooms: &[
            "backoff",
            "invariant",
            "job",
            "key",
            "machine",
            "rate_shard",
            "rate_window",
            "threads",
            "timestamp",
            "Invariant",
        ],
        ours: &[],
        packages: &["serde", "serde_json", "siphasher", "thiserror"],
    },
    Room {
        folder: "state/src/store/",
        rooms: &["store", "machine", "snapshot", "key", "timestamp"],
        ours: &[],
        packages: &["serde", "serde_json", "sled", "thiserror"],
    },
    Room {
        folder: "actors/src/",
        rooms: ANY,
        ours: &[STATE],
        packages: &[
            "actix",
            "actix_rt",
            "arc_swap",
            "futures_util",
            "getrandom",
            "serde",
            "serde_json",
            "thiserror",
            "tokio",
            "tracing",
        ],
    },
    Room {
        folder: "src/contract/",
        rooms: &["contract"],
        ours: &[],
        packages: &[
            "base64",
            "hex",
            "hmac",
            "humantime",
            "percent_encoding",
            "serde",
            "serde_json",
            "sha2",
            "subtle",
            "thiserror",
        ],
    },
    Room {
        folder: "src/config/",
        rooms: &["config", "contract"],
        ours: &[(
            "sendcat_state",
            &["bulkhead", "circuit_breaker", "job", "key", "rate_window", "store"],
        )],
        packages: &["ipnet", "serde", "serde_json", "thiserror", "toml"],
    },
    Room {
        folder: "src/upstream/",
        rooms: &["upstream", "contract", "config"],
        ours: &[
            STATE,
            (
                "sendcat_actors",
                &["bulkhead", "circuit_breaker", "clock", "failure", "handle", "ports"],
            ),
        ],
        packages: &[
            "base64",
            "bytes",
            "eventsource_stream",
            "futures_util",
            "getrandom",
            "jsonwebtoken",
            "percent_encoding",
            "reqwest",
            "rustls",
            "serde",
            "serde_json",
            "thiserror",
            "tokio",
            "tokio_util",
            "tracing",
        ],
    },
    Room {
        folder: "src/chat/",
        rooms: &["chat", "contract", "config", "upstream"],
        ours: &[STATE, HANDLES],
        packages: &[
            "bytes",
            "futures_util",
            "getrandom",
            "serde",
            "serde_json",
            "thiserror",
            "tokio",
            "tokio_util",
            "tracing",
        ],
    },
    Room {
        folder: "src/inbox/",
        rooms: &["inbox", "contract", "config", "upstream"],
        ours: &[STATE, HANDLES],
        packages: &[
            "bytes",
            "futures_util",
            "serde",
            "serde_json",
            "thiserror",
            "tokio",
            "tokio_util",
            "tracing",
        ],
    },
    Room {
        folder: "src/http/",
        rooms: &["http", "contract", "chat", "inbox", "config", "console", "telemetry"],
        ours: &[STATE, HANDLES],
        packages: &[
            "actix_rt",
            "actix_web",
            "arc_swap",
            "base64",
            "bytes",
            "futures_util",
            "getrandom",
            "hex",
            "ipnet",
            "jsonwebtoken",
            "percent_encoding",
            "serde",
            "serde_json",
            "sha2",
            "subtle",
            "thiserror",
            "tokio",
            "tokio_util",
            "tracing",
        ],
    },
    Room {
        folder: "src/load/",
        rooms: &["load", "contract", "config", "slo"],
        ours: &[],
        packages: &[
            "bytes",
            "eventsource_stream",
            "futures_util",
            "getrandom",
            "reqwest",
            "serde",
            "serde_json",
            "thiserror",
            "tokio",
        ],
    },
    Room { folder: "src/slo/", rooms: &["slo"], ours: &[], packages: &["serde", "serde_json"] },
    Room {
        folder: "src/sandbox/",
        rooms: &["sandbox", "contract"],
        ours: &[],
        packages: &[
            "actix_web",
            "base64",
            "bytes",
            "futures_util",
            "getrandom",
            "hex",
            "percent_encoding",
            "serde",
            "serde_json",
            "sha2",
            "tokio",
        ],
    },
    Room {
        folder: "src/console/",
        rooms: &["console", "contract"],
        ours: &[],
        packages: &["base64", "serde", "serde_json", "sha2"],
    },
    Room {
        folder: "src/telemetry/",
        rooms: &["telemetry", "config"],
        ours: &[("sendcat_actors", &["ports", "observe"])],
        packages: &[
            "humantime",
            "reqwest",
            "rustls",
            "sentry",
            "serde",
            "serde_json",
            "tokio",
            "tracing",
            "tracing_subscriber",
        ],
    },
    Room { folder: "src/cli/", rooms: ANY, ours: &[STATE, ("sendcat_actors", ANY)], packages: ANY },
    // The map of the rooms, and the way into the commands.
    Room { folder: "src/lib.rs", rooms: ANY, ours: &[], packages: &[] },
    Room { folder: "src/main.rs", rooms: &["cli"], ours: &[("sendcat", &["cli"])], packages: &[] },
];
