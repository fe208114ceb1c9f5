//! From layers of texts to a whole configuration, or to lines that say what is wrong.

use super::*;
use sendcat_state::key::ToolKind;
use serde_json::{Value as Json, json};

fn env(pairs: &[(&str, &str)]) -> Source {
    Source::from_env(pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())))
}

fn load(pairs: &[(&str, &str)]) -> Config {
    Config::load(&env(pairs)).unwrap()
}

fn faults(source: &Source) -> Vec<String> {
    Config::load(source).unwrap_err().iter().map(ToString::to_string).collect()
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn with_nothing_set_the_defaults_are_whole() {
    let config = load(&[]);
    assert_eq!(config.limit(Bucket::ChatStream), Limit { calls: 30, per: secs(60) });
    assert_eq!(config.limit(Bucket::WaLinkCode), Limit { calls: 5, per: secs(600) });
    let rules =
        CircuitRules { threshold: 5, cooldown: secs(30), slow: None, probe_deadline: secs(30) };
    assert_eq!(config.circuit(ProviderId::OpenrouterChat), rules);
    let rules = BulkheadRules { capacity: 24, lease_ttl: secs(180), wait: Duration::ZERO };
    assert_eq!(config.bulkhead(ProviderId::OpenrouterChat), rules);
    assert_eq!(config.deadline(ProviderId::SerperSearch), secs(8));
    assert_eq!(config.deadline(ProviderId::OpenrouterChat), config.chat.total);
    assert_eq!(config.tool_jobs.partition(ToolKind::SearchWeb).running_max, 6);
    assert_eq!(config.tool_jobs.partition(ToolKind::SearchGlobal).queued_max, 120);
    assert_eq!(config.tool_jobs.rules.max_attempts, 3);
    assert_eq!(config.bind, "127.0.0.1:8787".parse().unwrap());
    assert_eq!((config.placement, config.workers >= 1), (ShardPlacement::Worker, true));
    assert_eq!(config.rate_limit_style, RateLimitStyle::Draft11);
    assert_eq!(config.allowed_origins.len(), 4);
    assert_eq!((config.trusted_proxies, config.webhook_sources), (vec![], vec![]));
    assert_eq!((config.ops.token, config.auth.session_secret), (None, None));
}

#[test]
fn what_is_set_arrives_where_it_is_used() {
    let config = load(&[
        ("RATE_LIMIT_WHATSAPP_MAX", "7"),
        ("CIRCUIT_EBAY_SLOW_MS", "1500"),
        ("BULKHEAD_JWKS_WAIT_MS", "20"),
        ("SENDCAT_BIND", "0.0.0.0:0"),
        ("SENDCAT_SHARD_PLACEMENT", "dedicated"),
        ("RATE_LIMIT_HEADERS", "off"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,::1"),
        ("ALLOWED_ORIGINS", "https://a.example"),
        ("OPENROUTER_BASE_URL", "http://127.0.0.1:9/v1/"),
        ("OPENROUTER_FALLBACK_MODELS", "a/b, c/d"),
        ("WHATSAPP_APP_SECRET", "new,old"),
        ("SENTRY_DSN", "https://key@host/1"),
    ]);
    assert_eq!(config.limit(Bucket::WhatsappWebhook).calls, 7);
    assert_eq!(config.circuit(ProviderId::EbayBrowse).slow, Some(Duration::from_millis(1500)));
    assert_eq!(config.bulkhead(ProviderId::Jwks).wait, Duration::from_millis(20));
    assert_eq!(config.bind, "0.0.0.0:0".parse().unwrap());
    assert_eq!(config.placement, ShardPlacement::Dedicated);
    assert_eq!(config.rate_limit_style, RateLimitStyle::Off);
    assert_eq!(config.trusted_proxies.len(), 2);
    assert_eq!(config.allowed_origins, ["https://a.example"]);
    assert_eq!(config.providers.openrouter.base_url, "http://127.0.0.1:9/v1");
    assert_eq!(config.providers.openrouter.fallback_models, ["a/b", "c/d"]);
    let secrets = [Secret::new("new"), Secret::new("old")];
    assert_eq!(config.providers.whatsapp.app_secrets, secrets);
    assert_eq!(config.ops.rate_limit_sentry_dsn, Some(Secret::new("https://key@host/1")));
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_sandbox() {
    let file = "alert_threshold = 3\nchat_max_steps = \"4\"\nops_token = \"from file\"\n\
                openrouter_fallback_models = [\"a\", \"b\"]\n";
    let sandbox = [("OPS_TOKEN", "from sandbox"), ("SESSION_SECRET", "from sandbox")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let source = env(&[("ALERT_THRESHOLD", "2")]).with_file(file).unwrap().with_defaults(sandbox);
    assert!(source.sets("OPS_TOKEN") && !source.sets("SESSION_SECRET"));
    let config = Config::load(&source).unwrap();
    assert_eq!((config.ops.alert_threshold, config.chat.max_steps), (2, 4));
    assert_eq!(config.ops.token, Some(Secret::new("from file")));
    assert_eq!(config.auth.session_secret, Some(Secret::new("from sandbox")));
    assert_eq!(config.providers.openrouter.fallback_models, ["a", "b"]);
    let source_of = |name| config.listing().row(name).unwrap().source.clone();
    let names = ["ALERT_THRESHOLD", "CHAT_MAX_STEPS", "SESSION_SECRET", "OPS_READ_TOKEN"];
    assert_eq!(names.map(source_of), ["env", "file", "sandbox", "default"]);
}

#[test]
fn nothing_in_an_address_or_a_key_means_not_set_and_in_a_list_means_none() {
    let source = env(&[("OPS_TOKEN", ""), ("OPENROUTER_BASE_URL", " "), ("ALLOWED_ORIGINS", "")]);
    assert!(!source.sets("OPS_TOKEN"));
    let config = Config::load(&source).unwrap();
    assert_eq!(config.ops.token, None);
    assert_eq!(config.providers.openrouter.base_url, "https://openrouter.ai/api/v1");
    assert_eq!(config.allowed_origins, Vec::<String>::new());
}

#[test]
fn every_fault_is_told_in_a_line_with_knob_value_and_range() {
    let source = env(&[
        ("RATE_LIMIT_CHAT_STREAM_MAX", "0"),
        ("CIRCUIT_SERPER_SLOW_MS", "never"),
        ("CHAT_MAX_STEPS", ""),
        ("SENDCAT_SHARD_PLACEMENT", "any\nwhere"),
        ("BULKHEAD_SERPER_WAIT_MS", "2592000001"),
    ]);
    let mut lines = faults(&source);
    lines.sort();
    assert_eq!(
        lines,
        [
            "BULKHEAD_SERPER_WAIT_MS=\"2592000001\": expected milliseconds from 0 to 2592000000",
            "CHAT_MAX_STEPS=\"\": expected a whole number from 1 to 100",
            "CIRCUIT_SERPER_SLOW_MS=\"never\": expected milliseconds from 1 to 2592000000, or off",
            "RATE_LIMIT_CHAT_STREAM_MAX=\"0\": expected a whole number from 1 to 1000000000",
            "SENDCAT_SHARD_PLACEMENT=\"any\\nwhere\": expected one of worker, dedicated",
        ]
    );
}

#[test]
fn an_unknown_name_of_ours_is_a_fault_that_names_the_nearest() {
    let source = env(&[
        ("RATE_LIMIT_CHAT_STREM_MAX", "5"),
        ("OPS_TOKE", "hunter2"),
        ("TOOL_SOMETHING_ENTIRELY_DIFFERENT", "hunter2"),
        ("BULKHEAD_OPENROUTER_WAIT", "1"),
        ("PATH", "/bin"),
        ("HTTP_PROXY", "x"),
    ]);
    let mut lines = faults(&source);
    lines.sort();
    assert_eq!(
        lines,
        [
            "BULKHEAD_OPENROUTER_WAIT=\"1\": there is no such knob, did you mean \
             BULKHEAD_OPENROUTER_WAIT_MS?",
            "OPS_TOKE=***: there is no such knob, did you mean OPS_TOKEN?",
            "RATE_LIMIT_CHAT_STREM_MAX=\"5\": there is no such knob, did you mean \
             RATE_LIMIT_CHAT_STREAM_MAX?",
            "TOOL_SOMETHING_ENTIRELY_DIFFERENT=***: there is no such knob",
        ]
    );
}

#[test]
fn everything_in_the_file_must_be_a_knob_in_lower_case() {
    let source = env(&[]).with_file("ALERT_THRESHOLD = 1\nalert_treshold = 1\n").unwrap();
    let did_you_mean = "there is no such knob, did you mean alert_threshold?";
    let expected =
        ["ALERT_THRESHOLD", "alert_treshold"].map(|name| format!("{name}=\"1\": {did_you_mean}"));
    assert_eq!(faults(&source), expected);
    let nested = env(&[]).with_file("sendcat_config = \"other.toml\"").unwrap();
    assert_eq!(faults(&nested).len(), 1);
}

#[test]
fn a_file_of_another_form_is_refused_with_its_place() {
    let told = |text: &str| {
        let faults = env(&[]).with_file(text).unwrap_err();
        faults.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let wrong_type = "expected a text, a whole number, or a list of texts in the file";
    assert_eq!(told("alert_threshold = 1.5"), [format!("alert_threshold: {wrong_type}")]);
    assert_eq!(told("[ops]\ntoken = \"x\""), [format!("ops: {wrong_type}")]);
    let broken = told("ops_token = \"x\"\nalert_threshold = = 2\n");
    assert!(broken[0].starts_with("SENDCAT_CONFIG: line 2 of the file: "), "{broken:?}");
}

#[test]
fn the_named_file_is_read_and_one_that_is_not_there_is_a_fault() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sendcat.toml");
    std::fs::write(&path, "alert_threshold = 9\n").unwrap();
    let named = |path: &std::path::Path| env(&[("SENDCAT_CONFIG", path.to_str().unwrap())]);
    let source = named(&path).with_named_file().unwrap();
    let config = Config::load(&source).unwrap();
    assert_eq!((config.ops.alert_threshold, config.file), (9, Some(path.clone())));
    let missing = named(&path.with_extension("gone")).with_named_file().unwrap_err();
    assert_eq!(missing.len(), 1);
    assert!(missing[0].to_string().contains("the file cannot be read"), "{}", missing[0]);
}

#[test]
fn a_configured_source_needs_its_secret() {
    let sources = ("WEBHOOK_SOURCES", "shop-eu=stripe,ci=github");
    let lines = faults(&env(&[sources, ("WEBHOOK_SECRET_CI", "a,b")]));
    assert_eq!(
        lines,
        ["WEBHOOK_SECRET_SHOP_EU: expected one or more secrets, separated by commas, for \
          shop-eu=stripe in WEBHOOK_SOURCES"]
    );
    let config = load(&[sources, ("WEBHOOK_SECRET_CI", "a,b"), ("WEBHOOK_SECRET_SHOP_EU", "c")]);
    let secrets = |texts: &[&str]| texts.iter().map(|&text| Secret::new(text)).collect();
    let source = |name: &str, scheme, secrets| WebhookSource { name: name.into(), scheme, secrets };
    let expected = [
        source("shop-eu", Scheme::Stripe, secrets(&["c"])),
        source("ci", Scheme::Github, secrets(&["a", "b"])),
    ];
    assert_eq!(config.webhook_sources, expected);
    assert_eq!(config.listing().row("WEBHOOK_SECRET_CI").unwrap().value, MASK);
}

#[test]
fn a_secret_that_can_be_no_key_of_its_scheme_stops_the_start() {
    let sources = ("WEBHOOK_SOURCES", "mail=standard");
    let good = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    for secrets in ["hunter2!", "whsec_", "whsec_*", &format!("{good},hunter2!")] {
        let lines = faults(&env(&[sources, ("WEBHOOK_SECRET_MAIL", secrets)]));
        assert_eq!(
            lines,
            ["WEBHOOK_SECRET_MAIL: expected one or more secrets, separated by commas, each in \
              base64, for mail=standard in WEBHOOK_SOURCES"]
        );
    }
    load(&[sources, ("WEBHOOK_SECRET_MAIL", &format!("{good},{good}"))]);
}

#[test]
fn no_secret_is_printed_anywhere() {
    let mut pairs: Vec<(String, String)> = knobs::all()
        .iter()
        .filter(|knob| knob.kind.is_secret())
        .map(|knob| (knob.name.clone(), "hunter2".to_owned()))
        .collect();
    assert!(pairs.len() > 12);
    pairs.push(("WEBHOOK_SOURCES".into(), "ci=github".into()));
    pairs.push(("WEBHOOK_SECRET_CI".into(), "hunter2".into()));
    let source = Source::from_env(pairs);
    let config = Config::load(&source).unwrap();
    let listing = config.listing();
    let printed =
        [format!("{config:?}"), format!("{source:?}"), listing.to_json(), listing.to_text()];
    for text in printed {
        assert!(!text.contains("hunter2"), "{text}");
    }
    let bad = Source::from_env([("OPS_TOKEN".to_owned(), "hun\u{7}ter2".to_owned())]);
    assert_eq!(faults(&bad), ["OPS_TOKEN=***: expected a secret"]);
}

#[test]
fn the_listing_has_every_knob_for_programs_and_for_people() {
    let config = load(&[("ALERT_THRESHOLD", "7"), ("OPS_TOKEN", "hunter2")]);
    let json: Json = serde_json::from_str(&config.listing().to_json()).unwrap();
    let rows = json.as_array().unwrap();
    assert_eq!(rows.len(), knobs::all().len());
    let row = rows.iter().find(|row| row["name"] == "ALERT_THRESHOLD").unwrap();
    let expected = json!({
        "name": "ALERT_THRESHOLD", "value": 7, "default": 25, "unit": "count", "source": "env",
        "expected": "a whole number from 1 to 1000000000", "reloadable": true,
        "about": "Refusals of one kind in five minutes that raise an alert.",
    });
    assert_eq!(*row, expected);
    let text = config.listing().to_text();
    let mut lines = text.lines();
    let head = lines.next().unwrap();
    let column = head.find("SOURCE").unwrap();
    assert!(lines.clone().all(|line| line[column - 2..].starts_with("  ")), "{text}");
    let words = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.split_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(words("NAME"), ["NAME", "VALUE", "DEFAULT", "UNIT", "SOURCE"]);
    assert_eq!(words("ALERT_THRESHOLD"), ["ALERT_THRESHOLD", "7", "25", "count", "env"]);
    assert_eq!(words("OPS_TOKEN"), ["OPS_TOKEN", "***", "-", "-", "env"]);
    assert_eq!(
        words("CIRCUIT_JWKS_SLOW_MS"),
        ["CIRCUIT_JWKS_SLOW_MS", "off", "off", "ms", "default"]
    );
    let markdown = markdown();
    assert!(knobs::all().iter().all(|knob| markdown.contains(&format!("| `{}` |", knob.name))));
}

#[test]
fn every_knob_with_a_range_refuses_what_lies_just_outside_and_says_so() {
    use super::kind::Kind::{Bytes, Count, Millis, MillisOrOff, Minutes};
    let mut refused = 0;
    for knob in knobs::all() {
        let (Count(low, high)
        | Bytes(low, high)
        | Millis(low, high)
        | MillisOrOff(low, high)
        | Minutes(low, high)) = knob.kind
        else {
            continue;
        };
        let outside = [low.checked_sub(1).map(|it| it.to_string()), Some((high + 1).to_string())];
        for value in outside.into_iter().flatten().chain(["many".to_owned(), "-1".to_owned()]) {
            let line = format!("{}={value:?}: expected {}", knob.name, knob.kind.expected());
            assert_eq!(faults(&env(&[(&knob.name, &value)])), [line]);
            refused += 1;
        }
        for value in [low, high] {
            load(&[(&knob.name, &value.to_string())]);
        }
    }
    assert!(refused > 300, "only {refused} values were tried");
}
