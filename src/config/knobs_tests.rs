//! The table of knobs is whole, and its defaults are the promised ones.

use super::*;
use crate::config::kind::Value;

fn default_of(name: &str) -> String {
    match &find(name).unwrap_or_else(|| panic!("no knob {name}")).default {
        Fallback::Fixed(text) => text.clone(),
        Fallback::Unset => "-".into(),
        Fallback::Cores => "cores".into(),
    }
}

#[test]
fn every_provider_bucket_and_tool_has_its_knobs() {
    for &provider in ProviderId::ALL {
        let stem = provider_stem(provider);
        for end in ["THRESHOLD", "COOLDOWN_MS", "SLOW_MS"] {
            assert!(find(&format!("CIRCUIT_{stem}_{end}")).is_some(), "{provider} {end}");
        }
        for end in ["MAX_CONCURRENT", "LEASE_TTL_MS", "WAIT_MS"] {
            assert!(find(&format!("BULKHEAD_{stem}_{end}")).is_some(), "{provider} {end}");
        }
    }
    for &bucket in Bucket::ALL {
        for end in ["MAX", "WINDOW_MS"] {
            let name = format!("RATE_LIMIT_{}_{end}", bucket_stem(bucket));
            assert!(find(&name).is_some(), "{name}");
        }
    }
    for &tool in ToolKind::ALL {
        for end in ["RUNMAX", "QMAX"] {
            let name = format!("TOOL_JOB_{end}_{}", tool_stem(tool));
            assert!(find(&name).is_some(), "{name}");
        }
    }
}

/// Written out a second time on purpose, from INTERFACE.md §6 and CONFORMANCE.md §12.
const PROMISED: &[(&str, &str)] = &[
    ("RATE_LIMIT_CHAT_STREAM_MAX", "30"),
    ("RATE_LIMIT_CHAT_STREAM_WINDOW_MS", "60000"),
    ("RATE_LIMIT_ANON_IP_MAX", "60"),
    ("RATE_LIMIT_GMAIL_PUSH_MAX", "120"),
    ("RATE_LIMIT_GMAIL_PUSH_WINDOW_MS", "60000"),
    ("RATE_LIMIT_WHATSAPP_MAX", "120"),
    ("RATE_LIMIT_WHATSAPP_WINDOW_MS", "60000"),
    ("RATE_LIMIT_GMAIL_OAUTH_MAX", "30"),
    ("RATE_LIMIT_GMAIL_OAUTH_WINDOW_MS", "300000"),
    ("RATE_LIMIT_WA_LINK_CODE_MAX", "5"),
    ("RATE_LIMIT_WA_LINK_CODE_WINDOW_MS", "600000"),
    ("RATE_LIMIT_WEBHOOK_MAX", "600"),
    ("RATE_LIMIT_WEBHOOK_SENDER_MAX", "6000"),
    ("RATE_LIMIT_HEADERS", "draft11"),
    ("CIRCUIT_OPENROUTER_THRESHOLD", "5"),
    ("CIRCUIT_OPENROUTER_COOLDOWN_MS", "30000"),
    ("CIRCUIT_SERPER_THRESHOLD", "4"),
    ("CIRCUIT_SERPER_COOLDOWN_MS", "20000"),
    ("CIRCUIT_GMAIL_OAUTH_THRESHOLD", "4"),
    ("CIRCUIT_GMAIL_OAUTH_COOLDOWN_MS", "30000"),
    ("CIRCUIT_EBAY_SLOW_MS", "off"),
    ("CIRCUIT_SENTRY_INGEST_COOLDOWN_MS", "20000"),
    ("BULKHEAD_OPENROUTER_MAX_CONCURRENT", "24"),
    ("BULKHEAD_OPENROUTER_LEASE_TTL_MS", "180000"),
    ("BULKHEAD_SERPER_MAX_CONCURRENT", "12"),
    ("BULKHEAD_SERPER_LEASE_TTL_MS", "30000"),
    ("BULKHEAD_GMAIL_OAUTH_MAX_CONCURRENT", "8"),
    ("BULKHEAD_GMAIL_OAUTH_LEASE_TTL_MS", "30000"),
    ("BULKHEAD_JWKS_MAX_CONCURRENT", "8"),
    ("BULKHEAD_JWKS_WAIT_MS", "0"),
    ("BULKHEAD_SENTRY_COOLDOWN_MS", "300000"),
    ("BULKHEAD_TOOL_JOB_MAX", "16"),
    ("BULKHEAD_TOOL_JOB_LEASE_MS", "60000"),
    ("OPS_DEFAULT_WINDOW_MINUTES", "15"),
    ("OPS_MAX_ROWS_PER_SECTION", "50"),
    ("TOOL_CACHE_WEB_SEARCH_TTL_MS", "300000"),
    ("TOOL_CACHE_PRODUCT_SEARCH_TTL_MS", "600000"),
    ("TOOL_CACHE_WEB_SEARCH_NAMESPACE_VERSION", "v1"),
    ("TOOL_CACHE_PRODUCTS_NS_VER", "v1"),
    ("TOOL_JOB_MAX_PER_RUN", "8"),
    ("TOOL_JOB_LEASE_MS", "30000"),
    ("TOOL_JOB_WAIT_MS", "20000"),
    ("TOOL_JOB_POLL_MS", "250"),
    ("TOOL_JOB_MAX_ATTEMPTS", "3"),
    ("TOOL_JOB_RETRY_BASE_MS", "500"),
    ("TOOL_JOB_TTL_MS", "3600000"),
    ("TOOL_JOB_CLAIM_SCAN", "50"),
    ("TOOL_JOB_RUNMAX_WEB", "6"),
    ("TOOL_JOB_RUNMAX_PROD", "4"),
    ("TOOL_JOB_RUNMAX_GLOB", "4"),
    ("TOOL_JOB_QMAX_WEB", "200"),
    ("TOOL_JOB_QMAX_PROD", "120"),
    ("TOOL_JOB_QMAX_GLOB", "120"),
    ("ALERT_THRESHOLD", "25"),
    ("ALERT_COOLDOWN_MS", "1800000"),
    ("CHAT_CONNECT_TIMEOUT_MS", "5000"),
    ("CHAT_HEADERS_TIMEOUT_MS", "20000"),
    ("CHAT_FIRST_CONTENT_TIMEOUT_MS", "30000"),
    ("CHAT_IDLE_TIMEOUT_MS", "20000"),
    ("CHAT_TOTAL_TIMEOUT_MS", "300000"),
    ("CHAT_MAX_STEPS", "8"),
    ("CHAT_MIN_PROGRESS_CHARS", "20"),
    ("CHAT_MIN_PROGRESS_WINDOW_MS", "30000"),
    ("SENDCAT_BIND", "127.0.0.1:8787"),
    ("SENDCAT_DATA_DIR", "./data"),
    ("SENDCAT_SNAPSHOT_MS", "1000"),
    ("SENDCAT_DRAIN_MS", "25000"),
    ("SENDCAT_LAME_DUCK_MS", "0"),
    ("SENDCAT_BODY_TIMEOUT_MS", "10000"),
    ("SENDCAT_WORKERS", "cores"),
    ("SENDCAT_SHARD_PLACEMENT", "worker"),
    ("WEBHOOK_MAX_BYTES", "262144"),
    ("WHATSAPP_MAX_BYTES", "262144"),
    ("OPENROUTER_BASE_URL", "https://openrouter.ai/api/v1"),
    ("TRUSTED_PROXIES", ""),
    ("OPS_TOKEN", "-"),
    ("OPS_READ_TOKEN", "-"),
];

#[test]
fn the_defaults_are_the_promised_ones() {
    for (name, default) in PROMISED {
        assert_eq!(default_of(name), *default, "{name}");
    }
}

#[test]
fn every_knob_takes_its_own_default_and_says_what_it_does() {
    for knob in all() {
        if let Fallback::Fixed(text) = &knob.default {
            assert!(knob.kind.read(text).is_some(), "{}", knob.name);
        }
        assert!(knob.about.ends_with('.') && knob.about.len() > 10, "{}", knob.name);
    }
}

#[test]
fn names_are_unique_and_under_forty_characters() {
    for (at, knob) in all().iter().enumerate() {
        assert!(knob.name.len() < 40, "{}", knob.name);
        assert!(all()[at + 1..].iter().all(|other| other.name != knob.name), "{}", knob.name);
    }
}

#[test]
fn counts_and_times_have_the_promised_ranges() {
    for knob in all() {
        match knob.kind {
            Kind::Millis(min, max) | Kind::MillisOrOff(min, max) => {
                assert!(min <= 1 && max == 30 * 24 * 60 * 60 * 1000, "{}", knob.name);
                assert_eq!(min == 0, default_of(&knob.name) == "0", "{}", knob.name);
            }
            Kind::Count(min, max) => assert!(min == 1 && max <= 1_000_000_000, "{}", knob.name),
            Kind::Bytes(..) | Kind::Minutes(..) | Kind::Text | Kind::Path | Kind::Secret => {}
            Kind::Secrets | Kind::Url | Kind::List | Kind::Origins | Kind::Networks => {}
            Kind::Sources | Kind::Address | Kind::Choice(_) | Kind::Words(_) => {}
        }
    }
    let max = find("RATE_LIMIT_CHAT_STREAM_MAX").unwrap().kind;
    assert_eq!(max.read("1000000000"), Some(Value::Number(1_000_000_000)));
    assert_eq!(max.read("1000000001"), None);
}

#[test]
fn the_nearest_name_is_found_and_a_far_one_is_not() {
    let near = |name| nearest(name).map(|knob| knob.name.as_str());
    assert_eq!(near("RATE_LIMIT_CHAT_STREM_MAX"), Some("RATE_LIMIT_CHAT_STREAM_MAX"));
    assert_eq!(near("SENDCAT_BINDD"), Some("SENDCAT_BIND"));
    assert_eq!(near("OPS_TOKE"), Some("OPS_TOKEN"));
    assert_eq!(near("TOOL_NODE_EXTRA_THINGS_HERE_AND_THERE"), None);
    assert_eq!((edits("kitten", "sitting"), edits("", "abc"), edits("abc", "")), (3, 3, 3));
}
