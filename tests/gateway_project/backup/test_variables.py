from gateway_project.backup import variables
from gateway_project.env import Environment, load


def test_empty_variable_hides_none_of_the_file(tmp_path, monkeypatch):
    """As for the gateway itself: compose passes on variables that nobody has set."""
    (file := tmp_path / ".env").write_text("DEFAULT_MODEL=of-the-file\nADMIN_USERNAME=of-the-file\n")
    monkeypatch.setitem(Environment.model_config, "env_file", file)
    monkeypatch.setenv("DEFAULT_MODEL", "")
    monkeypatch.setenv("ADMIN_USERNAME", "of-the-environment")
    env, moved = load.__wrapped__(), variables.that_move()
    assert (env.default_model, env.admin_username) == ("of-the-file", "of-the-environment")
    assert (moved["DEFAULT_MODEL"], moved["ADMIN_USERNAME"]) == ("of-the-file", "of-the-environment")
