import pytest

from codetool.credentials.secret_names import SECRET_ARGUMENTS, is_secret_variable, normalize_name


@pytest.mark.parametrize(
    "name", ["OPENAI_API_KEY", "hf_token", "DB_PASSWORD", "PGPASSWORD", "AWS_SECRET", "DB_PWD", "GCP_CREDENTIALS"]
)
def test_variables_that_hold_secrets_are_known(name: str) -> None:
    assert is_secret_variable(name)


@pytest.mark.parametrize("name", ["PATH", "PWD", "OLDPWD", "GIT_AUTHOR_NAME", "XAUTHORITY", "CUDA_HOME"])
def test_other_variables_are_not(name: str) -> None:
    assert not is_secret_variable(name)


@pytest.mark.parametrize("name", ["X-RapidAPI-Key", "Authorization", "access_token", "Cookie", "Set-Cookie"])
def test_arguments_that_are_secrets_are_known_in_any_spelling(name: str) -> None:
    assert normalize_name(name) in SECRET_ARGUMENTS
