//! Providers: reached as a node reaches them, and asked nothing that costs.

use super::{super::client::Client, Answer, Asker, Check, Flags, clock::Dated, fail, ok, warn};
use actors::ports::{Stage, WireFault};
use cluster_config::Config;
use std::collections::BTreeMap;

/// And what their clocks say. Of a file, else of the node, else of the environment.
pub fn check(flags: &Flags, config: Option<&Config>, asker: &Asker) -> (Vec<Dated>, Vec<Check>) {
    if flags.offline {
        return (Vec::new(), Vec::new());
    }
    let said =
        || config.map(|config| config.addresses().map(|(name, url)| (name.to_owned(), url.to_owned())).collect()).unwrap_or_default();
    let known: BTreeMap<String, String> = if flags.file.is_some() { said() } else { of_node(flags).unwrap_or_else(said) };
    let (mut dates, mut checks) = (Vec::new(), Vec::new());
    for (name, url) in known {
        let answer = asker.get(&url, "/models");
        checks.push(match &answer {
            Ok(answer) => reached(&name, &url, answer),
            Err(fault) => not_reached(&name, &url, fault),
        });
        dates.extend(answer.ok().and_then(|answer| Dated::of(format!("provider {name}"), &answer)));
    }
    (dates, checks)
}

/// None: there is no node to ask, or it does not answer.
fn of_node(flags: &Flags) -> Option<BTreeMap<String, String>> {
    let client = flags.node.has_token().then(|| Client::open(&flags.node).ok()).flatten()?;
    let rows = client.list("providers", &[]).ok()?;
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    Some(rows.iter().filter_map(|row| Some((text(&row["name"])?, text(&row["spec"]["base_url"])?))).collect())
}

/// No key was shown, so 401 is as good as any.
fn reached(name: &str, url: &str, answer: &Answer) -> Check {
    let what = format!("provider {name} answers at {url} ({})", answer.status);
    match answer.status.as_u16() {
        407 => fail(what, "the proxy wants a user and a password: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"),
        500.. => warn(what, "it is in trouble itself, or base_url leads elsewhere"),
        _ => ok(what),
    }
}

fn not_reached(name: &str, url: &str, fault: &WireFault) -> Check {
    let todo = match fault.stage {
        Stage::Connect => "check base_url, DNS, the firewall, and HTTPS_PROXY and NO_PROXY",
        Stage::Tls => "set SSL_CERT_FILE to the certificate authority that signs for it; a proxy in between may have one of its own",
        Stage::Refused => "this address is never asked: metadata services and link-local addresses are not providers",
        _ => "something answers there that speaks no HTTP as it must: check base_url and the scheme",
    };
    fail(format!("provider {name} cannot be reached at {url}: {}", fault.message), todo)
}
