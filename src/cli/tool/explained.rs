//! `--explain CHECK_ID`: what a check means, who owns it, and its page of the runbook.

use std::process::ExitCode;

use super::common::Common;
use super::{inputs, misused};
use crate::report::explain;
use crate::slo::policy::{Owners, Policy, SloBaseline};

/// What an id is owned as: the route of its scenario, else the check itself.
pub(in crate::cli) fn subject(id: &str, baseline: &SloBaseline) -> String {
    let scenario = id.rsplit_once('.').map_or("", |(scenario, _)| scenario);
    let scenario = scenario.rsplit('.').next().unwrap_or_default();
    let route = baseline.scenarios.get(scenario).map(|scenario| scenario.subject());
    route.unwrap_or_else(|| format!("check:{id}"))
}

#[expect(clippy::print_stdout, reason = "it is what was asked for")]
pub(super) fn explain(id: &str, common: &Common) -> ExitCode {
    let of = |file: &str| {
        let path = common.config_dir.as_ref().map(|dir| dir.join(file));
        path.filter(|path| path.exists())
    };
    let owners = inputs::policy::<Owners>(of(Owners::FILE).as_deref());
    let baseline = inputs::policy::<SloBaseline>(of(SloBaseline::FILE).as_deref());
    let (owners, baseline) = match (owners, baseline) {
        (Ok((owners, _)), Ok((baseline, _))) => (owners, baseline),
        (Err(why), _) | (_, Err(why)) => return misused(&why),
    };
    let Some(meaning) = explain::meaning(id) else {
        return misused(&format!("no check is called {id:?}; a report's rows have their ids"));
    };
    let (owner, page) = owners.of(&subject(id, &baseline));
    println!("{id}\n  means    {meaning}\n  owner    {} {}", owner.team, owner.contact);
    println!("  runbook  {}", page.unwrap_or("no page"));
    ExitCode::SUCCESS
}
