import pytest

from tests.sta.hf.small_models import MODELS


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]()
