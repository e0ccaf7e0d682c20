//! The bodies of a call for candidates that speak another dialect, and what they lose there. Pure.

use crate::fault::{Fault, Side};
use cluster_config::Candidate;
use dialects::{
    Dialect, Endpoint, ErrorKind, Invalid, Request, Translated,
    exchange::{
        Target,
        loss::{Loss, LossPolicy, LossRules, Losses},
    },
    output_limit_name,
    providers::Schema,
    read_exchange, translate_request,
};
use events::{
    KeyId, ProviderId,
    call::{self, Half},
    limits,
};
use http::StatusCode;
use std::sync::Arc;

/// One body for each candidate that needs one, or the loss by which it is refused.
#[derive(Default)]
pub struct Translations {
    made: Vec<(ProviderId, String, Result<Arc<Translated>, Loss>)>,
}

/// Whether a candidate is asked in the words of the request.
pub fn is_own(request: &Request, candidate: &Candidate) -> bool {
    let same = candidate.provider.dialect == request.endpoint.dialect();
    same && !request.foreign_thinking || request.endpoint == Endpoint::CountTokens
}

/// Whether tokens are counted here, for the provider has no such endpoint.
pub fn is_counted_here(request: &Request, candidate: &Candidate) -> bool {
    request.endpoint == Endpoint::CountTokens && candidate.provider.dialect != Dialect::Anthropic
}

impl Translations {
    /// Translates for all candidates; the body is read once.
    ///
    /// # Errors
    /// The body is not what its endpoint takes.
    pub fn make(request: &Request, body: &[u8], candidates: &[Candidate], rules: &LossRules) -> Result<Translations, Invalid> {
        let mut made = Vec::new();
        let exchange = read_exchange(request.endpoint, body)?;
        for candidate in candidates.iter().filter(|candidate| !is_own(request, candidate)) {
            let Some(endpoint) = request.endpoint.at(candidate.provider.dialect) else { continue };
            let translated = translate_request(&exchange, endpoint, &target(candidate));
            let refused = translated.losses.refused(rules).cloned();
            made.push((candidate.provider.id, candidate.model.clone(), refused.map_or_else(|| Ok(Arc::new(translated)), Err)));
        }
        Ok(Translations { made })
    }

    fn find(&self, candidate: &Candidate) -> Option<&Result<Arc<Translated>, Loss>> {
        let found = self.made.iter().find(|(provider, model, _)| *provider == candidate.provider.id && *model == candidate.model);
        found.map(|(_, _, translated)| translated)
    }

    pub fn get(&self, candidate: &Candidate) -> Option<&Arc<Translated>> {
        self.find(candidate)?.as_ref().ok()
    }

    /// Why a candidate cannot be asked.
    pub fn refused(&self, candidate: &Candidate) -> Option<&Loss> {
        self.find(candidate)?.as_ref().err()
    }

    /// The largest body, in bytes: what bounds the input (LEDGER §6).
    pub fn bytes_max(&self) -> usize {
        self.made.iter().filter_map(|(.., translated)| translated.as_ref().ok()).map(|translated| translated.bytes).max().unwrap_or(0)
    }
}

fn target(candidate: &Candidate) -> Target {
    let dialect = candidate.provider.dialect;
    let endpoint = if dialect == Dialect::OpenAi { Endpoint::ChatCompletions } else { Endpoint::Messages };
    let quirks = candidate.provider.known.map(|known| known.quirks.clone()).unwrap_or_default();
    Target {
        model: candidate.model.clone(),
        output_limit: candidate.bounds.max_output_tokens.unwrap_or(limits::OUTPUT_TOKENS_UNKNOWN),
        native_schema: quirks.native_schema(&candidate.model),
        effort: quirks.effort(&candidate.model),
        old_limit: quirks.old_limit || output_limit_name(endpoint, &candidate.model) == "max_tokens",
        no_schema: quirks.schema == Schema::None,
        tool_id_bytes: quirks.tool_id_bytes,
        required_word: quirks.required_word,
        fields: quirks.fields,
    }
}

/// What one call lost, on its way to a provider and back.
#[derive(Clone, Debug, Default)]
pub struct Lost {
    provider: ProviderId,
    request: Losses,
    pub answer: Losses,
}

impl Lost {
    pub fn of(candidate: &Candidate, request: Losses) -> Lost {
        Lost { provider: candidate.provider.id, request, answer: Losses::default() }
    }

    /// Fields of those losses that are reported, for the header `x-tollgate-lost`; None: there are none.
    pub fn reported(&self, rules: &LossRules) -> Option<String> {
        let mut fields = self.request.reported(rules);
        for field in self.answer.reported(rules) {
            if !fields.contains(&field) {
                fields.push(field);
            }
        }
        (!fields.is_empty()).then(|| fields.join(","))
    }

    /// Fields of all losses, for the call's line.
    pub fn fields(&self) -> Option<String> {
        self.reported(&LossRules::all(LossPolicy::Warn))
    }

    /// All losses, whatever the rules say, as they stand in the record.
    pub fn recorded(&self, key: KeyId) -> Option<call::Translated> {
        let halves = [(Half::Request, &self.request), (Half::Answer, &self.answer)];
        let losses = halves.into_iter().flat_map(|(half, losses)| losses.iter().map(move |loss| recorded(half, loss)));
        let losses: Vec<call::Loss> = losses.take(limits::LOSSES_RECORDED_MAX).collect();
        (!losses.is_empty()).then_some(call::Translated { key, provider: self.provider, losses })
    }
}

fn recorded(half: Half, loss: &Loss) -> call::Loss {
    call::Loss { half, kind: loss.kind.as_str().to_owned(), path: loss.path.clone() }
}

/// No candidate can be told all that the request says.
pub fn refusal(loss: &Loss, candidate: &Candidate) -> Fault {
    let (path, kind) = (&loss.path, loss.kind.as_str());
    let message = format!(
        "`{path}` cannot be said to the provider {}, which speaks {}; leave it out, or allow its loss by the header `x-tollgate-loss: {kind}=warn`",
        candidate.provider.name,
        candidate.provider.dialect.as_str(),
    );
    Fault::new(StatusCode::BAD_REQUEST, ErrorKind::InvalidRequest, "lost_in_translation", Side::Policy, message).about(path.clone())
}
