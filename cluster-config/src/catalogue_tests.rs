use super::*;

#[test]
fn every_shipped_model_has_its_price_its_bounds_and_its_source() {
    for (dialect, text) in FILES {
        let (date, models) = read(text).unwrap_or_else(|problems| panic!("{dialect:?}: {problems:?}"));
        assert!(date.len() == 10 && date.starts_with("20"), "{dialect:?}: an edition is a day, not {date}");
        assert!(text.to_lowercase().contains("source"), "{dialect:?}: where the prices are from");
        assert!(models.len() > 10, "{dialect:?}: {} models", models.len());
        for (name, entry) in &models {
            let price = entry.price.as_ref().unwrap_or_else(|| panic!("{name} has no price"));
            assert!(price.input.0 >= 0 && price.output.0 >= 0 && price.input.0 + price.output.0 > 0, "{name} is not free");
            assert!(entry.bounds.context_tokens.is_none_or(|tokens| tokens >= 1_000), "{name}: {:?}", entry.bounds);
            assert!(price.cache_read.is_none_or(|read| read.0 <= price.input.0), "{name}: reading a cache is no dearer");
        }
        let bounded = models.iter().filter(|(_, entry)| entry.bounds.context_tokens.is_some()).count();
        assert!(bounded * 10 >= models.len() * 9, "{dialect:?}: the context of only {bounded} of {} models is known", models.len());
        let mut names: Vec<&String> = models.iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), models.len(), "{dialect:?}: a model stands once");
    }
}
