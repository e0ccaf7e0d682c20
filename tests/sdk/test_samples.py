"""The sample configuration applies as it stands."""

from conftest import ROOT, Node


def test_the_sample_configuration_applies(tmp_path):
    node = Node(tmp_path, {})
    try:
        text = (ROOT / "deploy/tollgate.yaml").read_text().replace("${OPENAI_API_KEY}", "sk-x").replace("${ANTHROPIC_API_KEY}", "sk-y")
        import httpx

        answer = httpx.post(f"{node.url}/api/v1/apply", content=text, headers={"authorization": "Bearer test-admin-token"})
        assert answer.status_code == 200, answer.text
        assert list(answer.json()["secrets"]) == ["search-prod"]
        again = httpx.post(f"{node.url}/api/v1/apply", content=text, headers={"authorization": "Bearer test-admin-token"})
        assert again.json()["changes"] == []
    finally:
        node.stop()
