//! Where the values of knobs come from: the environment, then a file, then what the sandbox
//! fills in, then the default. The only reader of the environment.

use std::collections::BTreeMap;
use std::fmt;

use super::fault::Fault;
use super::knobs;

/// The variable that names the file.
const FILE_KNOB: &str = "SENDCAT_CONFIG";

/// What precedes the name of a configured source in the name of its secret.
pub(super) const SOURCE_SECRET: &str = "WEBHOOK_SECRET_";

/// Variables of these prefixes are ours; one that no knob has is a slip (INTERFACE.md §1).
const OURS: [&str; 6] = ["RATE_LIMIT_", "CIRCUIT_", "BULKHEAD_", "TOOL_", "OPS_", "SENDCAT_"];

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The environment.
    Env,
    /// The file that `SENDCAT_CONFIG` names.
    File,
    /// The sandbox, which points at itself what nobody set.
    Sandbox,
    /// Nobody: the knob's default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Env => "env",
            Self::File => "file",
            Self::Sandbox => "sandbox",
            Self::Default => "default",
        })
    }
}

/// Values by the name of their knob, in layers.
#[derive(Clone, Default)]
pub struct Source {
    env: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
    sandbox: BTreeMap<String, String>,
}

impl Source {
    /// The environment of this process, and the file that it names.
    ///
    /// # Errors
    /// A [`Fault`] for each variable of ours that is not UTF-8, and for a file that cannot be read.
    pub fn from_process() -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut env = BTreeMap::new();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().filter(|name| concerns_us(name)) else {
                continue;
            };
            match value.into_string() {
                Ok(value) => drop(env.insert(name.to_owned(), value)),
                Err(_) => faults.push(Fault::bare(name, "expected text in UTF-8")),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Self::from_env(env).with_named_file()
    }

    /// These variables, as if they were the environment. No file is read.
    pub fn from_env(env: impl IntoIterator<Item = (String, String)>) -> Self {
        let env = env.into_iter().filter(|(name, _)| concerns_us(name)).collect();
        Self { env, ..Self::default() }
    }

    /// The same with the file that the environment names, if it names one.
    ///
    /// # Errors
    /// A [`Fault`] if the file cannot be read, or as [`Self::with_file`].
    pub fn with_named_file(self) -> Result<Self, Vec<Fault>> {
        let Some(path) = self.env.get(FILE_KNOB).filter(|path| !path.trim().is_empty()) else {
            return Ok(self);
        };
        let text = std::fs::read_to_string(path.trim()).map_err(|cause| {
            vec![Fault::new(FILE_KNOB, path, &format!("the file cannot be read: {cause}"))]
        })?;
        self.with_file(&text)
    }

    /// The same with the text of a file: TOML with the knobs' names in lower case, its values
    /// texts, whole numbers, or lists of texts. Faults of its names are found by the loading.
    ///
    /// # Errors
    /// A [`Fault`] for each member that is of another type, or one if the text is not TOML.
    pub fn with_file(mut self, text: &str) -> Result<Self, Vec<Fault>> {
        let table: toml::Table = toml::from_str(text).map_err(|cause| {
            let line = cause.span().map_or(1, |span| line_of(text, span.start));
            vec![Fault::bare(FILE_KNOB, &format!("line {line} of the file: {}", cause.message()))]
        })?;
        let mut faults = Vec::new();
        for (name, value) in table {
            match text_of(&value) {
                Some(value) => drop(self.file.insert(name, value)),
                None => faults.push(Fault::bare(
                    &name,
                    "expected a text, a whole number, or a list of texts in the file",
                )),
            }
        }
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }

    /// The same with values for what neither the environment nor the file sets. The sandbox fills
    /// in its own addresses and keys so.
    pub fn with_defaults(mut self, values: impl IntoIterator<Item = (String, String)>) -> Self {
        self.sandbox.extend(values);
        self
    }

    /// Whether the environment or the file sets this knob, and not to nothing.
    pub fn sets(&self, name: &str) -> bool {
        let file_name = name.to_ascii_lowercase();
        let layers = [self.env.get(name), self.file.get(&file_name)];
        layers.into_iter().flatten().any(|value| !value.trim().is_empty())
    }

    /// A knob as it is written, checked by nobody: for commands that start no server.
    pub fn text(&self, name: &str) -> Option<String> {
        let mut set =
            self.values(name).map(|(text, _)| text.trim()).filter(|text| !text.is_empty());
        set.next().map(str::to_owned)
    }

    /// The values of a knob, the strongest first.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = (&str, Origin)> {
        let file_name = name.to_ascii_lowercase();
        let layers = [
            (self.env.get(name), Origin::Env),
            (self.file.get(&file_name), Origin::File),
            (self.sandbox.get(name), Origin::Sandbox),
        ];
        layers.into_iter().filter_map(|(value, origin)| Some((value?.as_str(), origin)))
    }

    /// A fault for each name that no knob has: of the environment those with a prefix of ours, of
    /// the file all, for everything in it is meant for us.
    pub(super) fn unknown(&self) -> Vec<Fault> {
        let known = |name: &str| knobs::find(name).is_some() || name.starts_with(SOURCE_SECRET);
        let from_env = self.env.iter().filter(|(name, _)| !known(name)).map(|(name, value)| {
            Fault::unknown(name, knobs::nearest(name).map(|knob| (knob.name.clone(), knob)), value)
        });
        let in_file = |name: &str| {
            let upper = name.to_ascii_uppercase();
            name != name.to_ascii_lowercase() || upper == FILE_KNOB || !known(&upper)
        };
        let from_file = self.file.iter().filter(|(name, _)| in_file(name)).map(|(name, value)| {
            let near = knobs::nearest(&name.to_ascii_uppercase());
            Fault::unknown(name, near.map(|knob| (knob.name.to_ascii_lowercase(), knob)), value)
        });
        from_env.chain(from_file).collect()
    }
}

/// Masked whole: a layer holds secrets beside the rest.
impl fmt::Debug for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |layer: &BTreeMap<String, String>| layer.keys().cloned().collect::<Vec<_>>();
        out.debug_struct("Source")
            .field("env", &names(&self.env))
            .field("file", &names(&self.file))
            .field("sandbox", &names(&self.sandbox))
            .finish()
    }
}

fn concerns_us(name: &str) -> bool {
    let ours = OURS.iter().any(|prefix| name.starts_with(prefix));
    ours || name.starts_with(SOURCE_SECRET) || knobs::find(name).is_some()
}

fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Array(items) => {
            let items = items.iter().map(toml::Value::as_str).collect::<Option<Vec<_>>>()?;
            Some(items.join(","))
        }
        toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Table(_) => None,
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1
}
