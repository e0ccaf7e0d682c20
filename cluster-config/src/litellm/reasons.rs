//! Why fields of LiteLLM's are not taken over, and what to do instead. What is not here is told without a reason.

use super::part::Reasons;

const REDIS: &str = "is not needed: counters and budgets are in the cluster's own log, without Redis";
const DATABASE: &str = "is not needed: everything is in the cluster's own log, without a database";
const TELEMETRY: &str = "is not taken over: set OTEL_EXPORTER_OTLP_ENDPOINT for traces, read /metrics, or follow /api/v1/events";
const NO_CACHE: &str = "is not taken over: answers are not cached";
const RETRIES: &str = "is not taken over: a call's targets are tried in order, with a fixed most of attempts";
const STREAM_TIMEOUT: &str = "is not taken over: a provider's first_byte and silence are for all calls, streams or not";
const COOLDOWN: &str = "is not taken over: the gateway decides itself when a failing provider is left alone";
const ORDER: &str = "is not taken over: the targets of a model are tried in order";
const OTHER_FALLBACKS: &str = "is not taken over: a model has one chain of targets, for every failure alike";
const PASSED: &str = "is not taken over: requests pass as they are, so the caller must say it";
const CLOUD: &str = "is not taken over: a provider has a key, and no other credentials";
const DEPLOYMENT_RATE: &str = "is not taken over: a provider has no such limit, only max_parallel_requests; limit keys, scopes or tenants";
const PRICE: &str = "is not taken over: write it into the target's price by hand, under our names";
const GUARDRAILS: &str = "is not taken over: there are no guardrails";
const METADATA: &str = "is not taken over: keys and scopes carry no metadata; callers send tags in x-tollgate-tags";
const USERS: &str = "is not taken over: there are no users, only scopes and keys";
const ADMIN: &str = "is not taken over: there is one administrator's token, TOLLGATE_ADMIN_TOKEN";
const LOSS: &str = "is not taken over: what a dialect cannot say is dropped and told, or as `loss` of tenants, scopes and keys says";
const SPENT: &str = "is not taken over: budgets begin unspent, so lower a limit by hand where it matters";
const PARENTS: &str = "is not taken over: hang the scope on another by hand, by its `parent`";

pub(super) const NONE: Reasons = &[];

pub(super) const CREDENTIAL: Reasons = &[("credential_info", "is not taken over: it is a description")];

pub(super) const FILE: Reasons = &[
    ("include", "is not read: import each of the files"),
    ("guardrails", GUARDRAILS),
    ("callback_settings", TELEMETRY),
    ("mcp_*", "is not taken over: there is no MCP gateway"),
    ("users", USERS),
    ("customers", USERS),
    ("organizations", PARENTS),
    ("budgets", "is not taken over: write max_budget and budget_duration into the keys and teams that name them"),
];

pub(super) const PARAMS: Reasons = &[
    ("stream_timeout", STREAM_TIMEOUT),
    ("rpm", DEPLOYMENT_RATE),
    ("tpm", DEPLOYMENT_RATE),
    ("weight", ORDER),
    ("max_tokens", "is not taken over: callers say it themselves; a model's bound is model_info.max_output_tokens"),
    ("max_completion_tokens", "is not taken over: callers say it themselves; a model's bound is model_info.max_output_tokens"),
    ("temperature", PASSED),
    ("top_p", PASSED),
    ("seed", PASSED),
    ("reasoning_effort", PASSED),
    ("extra_body", PASSED),
    ("drop_params", LOSS),
    ("additional_drop_params", LOSS),
    ("allowed_openai_params", LOSS),
    ("max_retries", RETRIES),
    ("num_retries", RETRIES),
    ("cooldown_time", COOLDOWN),
    ("aws_*", CLOUD),
    ("vertex_*", CLOUD),
    ("azure_*", CLOUD),
    ("tenant_id", CLOUD),
    ("client_id", CLOUD),
    ("client_secret", CLOUD),
    ("tags", "is not taken over: targets are not chosen by tags"),
    ("headers", "is not taken over: extra_headers is"),
    ("max_budget", "is not taken over: write a budget with `only` this provider"),
    ("budget_duration", "is not taken over: write a budget with `only` this provider"),
    ("*_cost*", PRICE),
    ("mock_response", "is not taken over: `tollgate provider-sim` stands in for a provider"),
    ("guardrails", GUARDRAILS),
    ("use_in_pass_through", "is not taken over: there are no pass-through endpoints"),
];

pub(super) const INFO: Reasons = &[
    ("*_cost*", PRICE),
    (
        "base_model",
        "is not taken over: prices are found by the target's model; give the target a price if the catalogue does not know that",
    ),
    ("id", "is not taken over: a target is known by its provider and its model"),
    ("supports_*", "is not taken over: what a model can do is not configured"),
    ("access_groups", "is not taken over: list the models themselves in a key's models"),
    ("health_check_*", "is not taken over: providers are judged by the calls they answer"),
];

pub(super) const ROUTER: Reasons = &[
    ("stream_timeout", STREAM_TIMEOUT),
    ("routing_strategy*", ORDER),
    ("redis_*", REDIS),
    ("cache_responses", NO_CACHE),
    ("cache_kwargs", NO_CACHE),
    ("num_retries", RETRIES),
    ("max_retries", RETRIES),
    ("retry_*", RETRIES),
    ("max_fallbacks", RETRIES),
    ("model_group_retry_policy", RETRIES),
    ("allowed_fails*", COOLDOWN),
    ("cooldown_time", COOLDOWN),
    ("disable_cooldowns", COOLDOWN),
    ("context_window_fallbacks", OTHER_FALLBACKS),
    ("content_policy_fallbacks", OTHER_FALLBACKS),
    ("enable_pre_call_checks", "is not taken over: it is always so that a call is judged before it goes out"),
    ("enable_tag_filtering", "is not taken over: targets are not chosen by tags"),
    ("default_max_parallel_requests", "is not taken over: write max_parallel_requests into the providers"),
];

pub(super) const LITELLM: Reasons = &[
    ("stream_timeout", STREAM_TIMEOUT),
    ("drop_params", LOSS),
    ("modify_params", LOSS),
    ("success_callback", TELEMETRY),
    ("failure_callback", TELEMETRY),
    ("service_callback*", TELEMETRY),
    ("callbacks", TELEMETRY),
    ("*langfuse*", TELEMETRY),
    ("prometheus_*", TELEMETRY),
    ("cache", NO_CACHE),
    ("cache_params", NO_CACHE),
    ("num_retries", RETRIES),
    ("allowed_fails", COOLDOWN),
    ("cooldown_time", COOLDOWN),
    ("context_window_fallbacks", OTHER_FALLBACKS),
    ("content_policy_fallbacks", OTHER_FALLBACKS),
    ("set_verbose", "is not taken over: set RUST_LOG"),
    ("json_logs", "is not taken over: set RUST_LOG"),
    ("max_internal_user_budget", USERS),
    ("internal_user_budget_duration", USERS),
    ("max_end_user_budget", USERS),
    ("default_internal_user_params", USERS),
    ("default_team_settings", "is not taken over: each scope says its own"),
    ("default_team_params", "is not taken over: each scope says its own"),
    ("guardrails", GUARDRAILS),
    ("turn_off_message_logging", "is not needed: bodies are not logged"),
    ("redact_user_api_key_info", "is not needed: secrets are not logged"),
];

pub(super) const GENERAL: Reasons = &[
    (
        "master_key",
        "is not taken over: administration is by TOLLGATE_ADMIN_TOKEN, which makes no calls; make a key for those who called with it",
    ),
    ("database_*", DATABASE),
    ("store_model_in_db", DATABASE),
    ("use_redis_*", REDIS),
    ("alerting*", TELEMETRY),
    ("alert_*", TELEMETRY),
    ("ui_*", ADMIN),
    ("enable_jwt_auth", ADMIN),
    ("litellm_jwtauth", ADMIN),
    ("custom_auth", ADMIN),
    ("max_parallel_requests", "is not taken over: write max_parallel_requests into the tenant, its scopes or its keys"),
    ("global_max_parallel_requests", "is not taken over: write max_parallel_requests into the tenant or the providers"),
    ("background_health_checks", "is not taken over: providers are judged by the calls they answer"),
    ("health_check_*", "is not taken over: providers are judged by the calls they answer"),
    ("pass_through_endpoints", "is not taken over: there are no pass-through endpoints"),
    ("max_request_size_mb", "is not taken over: bodies are bounded alike for all"),
    ("max_response_size_mb", "is not taken over: bodies are bounded alike for all"),
];

pub(super) const ENVIRONMENT: Reasons = &[("*", "is not taken over: set it where the file is applied, if the file names it as ${…}")];

pub(super) const TEAM: Reasons = &[
    ("members*", USERS),
    ("admins", USERS),
    ("metadata", METADATA),
    ("tags", METADATA),
    ("organization_id", PARENTS),
    ("spend", SPENT),
    ("soft_budget", "is not taken over: write `alert_at` into the budget"),
    ("budget_id", "is not taken over: write max_budget and budget_duration here"),
    ("budget_reset_at", "is not taken over: windows begin with the hour, day, week or month, in UTC"),
    ("model_aliases", "is not taken over: make a model of that name"),
    ("guardrails", GUARDRAILS),
];

pub(super) const KEY: Reasons = &[
    ("user_id", USERS),
    ("created_*", "is not taken over: the log says when the key was made here"),
    ("updated_*", "is not taken over: the log says when the key was made here"),
    ("metadata", METADATA),
    ("tags", METADATA),
    ("token", "is not taken over: it is a hash; without `key` a new secret is made"),
    ("key_name", "is not taken over: it is a part of the secret"),
    ("spend", SPENT),
    ("soft_budget", "is not taken over: write `alert_at` into the budget"),
    ("budget_id", "is not taken over: write max_budget and budget_duration here"),
    ("budget_reset_at", "is not taken over: windows begin with the hour, day, week or month, in UTC"),
    ("aliases", "is not taken over: make a model of that name"),
    ("config", "is not taken over: nothing of it is known here"),
    ("permissions", "is not taken over, so the key may do more than before: see whether it should be here"),
    ("allowed_routes", "is not taken over, so the key may do more than before: it may call every endpoint"),
    ("model_rpm_limit", "is not taken over, so the key may do more than before: a key's limits are for all its models"),
    ("model_tpm_limit", "is not taken over, so the key may do more than before: a key's limits are for all its models"),
    ("guardrails", GUARDRAILS),
    ("organization_id", PARENTS),
    ("auto_rotate", "is not taken over: keys are not rotated by themselves"),
    ("rotation_interval", "is not taken over: keys are not rotated by themselves"),
];
