use super::*;

fn read(text: &str) -> Option<Usage> {
    openai(&mut Cursor::new(text.as_bytes())).expect("JSON")
}

/// input, cache read, cache write, output, reasoning, audio in, audio out.
fn classes(text: &str) -> [u64; 7] {
    let usage = read(text).expect(text);
    [usage.input, usage.cache_read, usage.cache_write, usage.output, usage.reasoning, usage.audio_input, usage.audio_output]
}

#[test]
fn details_are_taken_out_of_their_totals() {
    let chat = r#"{"prompt_tokens":100,"completion_tokens":60,"total_tokens":160,"prompt_tokens_details":{"cached_tokens":30,"audio_tokens":20},
        "completion_tokens_details":{"reasoning_tokens":40,"audio_tokens":5}}"#;
    assert_eq!(classes(chat), [50, 30, 0, 15, 40, 20, 5]);
    let responses = r#"{"input_tokens":16,"input_tokens_details":{"cache_write_tokens":4,"cached_tokens":2},"output_tokens":265,
        "output_tokens_details":{"reasoning_tokens":192},"total_tokens":281}"#;
    assert_eq!(classes(responses), [10, 2, 4, 73, 192, 0, 0]);
    assert_eq!(
        classes(r#"{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":null,"completion_tokens_details":null}"#),
        [7, 0, 0, 3, 0, 0, 0]
    );
}

#[test]
fn what_the_total_has_over_the_sum_is_counted_beside_it() {
    let xai = r#"{"prompt_tokens":12,"completion_tokens":2,"total_tokens":334,"completion_tokens_details":{"reasoning_tokens":320}}"#;
    assert_eq!(classes(xai), [12, 0, 0, 2, 320, 0, 0]);
    let mistral =
        r#"{"prompt_tokens":9,"total_tokens":585,"completion_tokens":201,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":375}}"#;
    assert_eq!(classes(mistral), [9, 0, 0, 201, 0, 375, 0]);
    let gemini = r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":115}"#;
    assert_eq!(classes(gemini), [10, 0, 0, 5, 100, 0, 0]);
    let cache =
        r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":45,"cache_read_input_tokens":20,"cache_creation_input_tokens":10}"#;
    assert_eq!(classes(cache), [10, 20, 10, 5, 0, 0, 0]);
}

#[test]
fn other_names_for_cached_tokens_are_known() {
    assert_eq!(classes(r#"{"prompt_tokens":20,"completion_tokens":1,"cached_tokens":10}"#), [10, 10, 0, 1, 0, 0, 0]);
    assert_eq!(
        classes(r#"{"prompt_tokens":20,"completion_tokens":1,"prompt_cache_hit_tokens":8,"prompt_cache_miss_tokens":12}"#),
        [12, 8, 0, 1, 0, 0, 0]
    );
}

#[test]
fn nonsense_neither_panics_nor_refunds() {
    assert_eq!(read("null"), None);
    assert_eq!(read("{}"), None);
    assert_eq!(read(r#"{"prompt_tokens":-5,"completion_tokens":"9"}"#), None);
    let more_cached_than_read =
        r#"{"prompt_tokens":10,"completion_tokens":213,"total_tokens":223,"prompt_tokens_details":{"cached_tokens":161}}"#;
    assert_eq!(classes(more_cached_than_read), [0, 10, 0, 213, 0, 0, 0]);
    let huge = r#"{"prompt_tokens":99999999999999999999999,"completion_tokens":18446744073709551615,"total_tokens":1e300,"cached_tokens":1e300,
        "completion_tokens_details":{"reasoning_tokens":1e300}}"#;
    assert!(read(huge).expect("counts").tokens() >= events::limits::COUNT_MAX);
}

#[test]
fn searches_are_counted_under_every_name() {
    let searches = |text: &str| read(text).expect("counts").searches;
    assert_eq!(searches(r#"{"prompt_tokens":1,"server_tool_use_details":{"web_search_requests":3}}"#), 3);
    assert_eq!(
        searches(r#"{"input_tokens":1,"server_side_tool_usage_details":{"web_search_calls":2,"x_search_calls":1,"mcp_calls":9}}"#),
        3
    );
    assert_eq!(searches(r#"{"prompt_tokens":1,"num_search_queries":4}"#), 4);
}

fn anthropic(objects: &[&str]) -> AnthropicCounts {
    let mut counts = AnthropicCounts::default();
    for object in objects {
        counts.merge(&mut Cursor::new(object.as_bytes())).expect("JSON");
    }
    counts
}

#[test]
fn later_counts_replace_earlier_ones_field_by_field() {
    let start = r#"{"input_tokens":6,"cache_creation_input_tokens":300,"cache_read_input_tokens":50,
        "cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200},"output_tokens":1}"#;
    let delta = r#"{"output_tokens":198,"output_tokens_details":{"thinking_tokens":90},"server_tool_use":{"web_search_requests":2}}"#;
    let usage = anthropic(&[start, delta]).usage().expect("counts");
    assert_eq!((usage.input, usage.cache_read, usage.cache_write, usage.cache_write_1h), (6, 50, 100, 200));
    assert_eq!((usage.output, usage.reasoning, usage.searches), (108, 90, 2));
    assert_eq!(anthropic(&["null", "{}"]).usage(), None);
}

#[test]
fn writes_without_a_breakdown_live_five_minutes() {
    let usage = anthropic(&[r#"{"input_tokens":1,"cache_creation_input_tokens":30,"output_tokens":2}"#]).usage().expect("counts");
    assert_eq!((usage.cache_write, usage.cache_write_1h), (30, 0));
}

#[test]
fn steps_that_the_totals_leave_out_are_kept_apart() {
    let counts = anthropic(&[r#"{"input_tokens":682,"output_tokens":1320,"iterations":[
        {"type":"compaction","input_tokens":60385,"output_tokens":592},{"type":"message","input_tokens":682,"output_tokens":1320}]}"#]);
    let usage = counts.usage().expect("counts");
    assert_eq!((usage.input, usage.output), (682, 1320));
    assert_eq!((counts.beside().input, counts.beside().output), (60385, 592));
}
