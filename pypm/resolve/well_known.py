"""Names that people mean when they mistype one. For hints alone: nothing is ever chosen by this list."""

from __future__ import annotations

# fmt: off
WELL_KNOWN = frozenset(
    {
        "aiohttp", "airflow", "alembic", "altair", "anyio", "apache-airflow", "argcomplete", "asgiref",
        "attrs", "babel", "beautifulsoup4", "black", "bleach", "boto3", "botocore", "build",
        "cachetools", "celery", "certifi", "cffi", "charset-normalizer", "click", "cloudpickle",
        "colorama", "conda", "coverage", "cryptography", "cython", "dash", "dask", "datasets", "django",
        "django-rest-framework", "djangorestframework", "dnspython", "docker", "docutils", "duckdb",
        "fastapi", "filelock", "flake8", "flask", "flask-sqlalchemy", "fonttools", "fsspec", "gevent",
        "gitpython", "google-auth", "google-cloud-storage", "greenlet", "grpcio", "gunicorn", "h5py",
        "hatch", "hatchling", "httpcore", "httpx", "huggingface-hub", "hypothesis", "idna", "imageio",
        "importlib-metadata", "ipykernel", "ipython", "isort", "itsdangerous", "jax", "jinja2",
        "jmespath", "joblib", "jsonschema", "jupyter", "jupyterlab", "keras", "kiwisolver", "kombu",
        "kubernetes", "langchain", "lightgbm", "lxml", "mako", "markdown", "markupsafe", "marshmallow",
        "matplotlib", "mkdocs", "mongoengine", "msgpack", "multidict", "mypy", "mysqlclient",
        "nbconvert", "nest-asyncio", "networkx", "nltk", "notebook", "numba", "numpy", "oauthlib",
        "openai", "opencv-python", "openpyxl", "orjson", "packaging", "pandas", "paramiko", "pdm",
        "peewee", "pendulum", "pillow", "pip", "pip-tools", "pipenv", "platformdirs", "playwright",
        "plotly", "pluggy", "poetry", "pre-commit", "prompt-toolkit", "protobuf", "psutil", "psycopg",
        "psycopg2", "psycopg2-binary", "pyarrow", "pyasn1", "pycparser", "pydantic", "pydantic-core",
        "pygments", "pyjwt", "pylint", "pymongo", "pymysql", "pyopenssl", "pyparsing", "pyqt5",
        "pyserial", "pytest", "pytest-asyncio", "pytest-cov", "pytest-mock", "pytest-xdist",
        "python-dateutil", "python-dotenv", "pytorch", "pytz", "pyyaml", "redis", "regex", "requests",
        "requests-oauthlib", "rich", "ruff", "s3fs", "s3transfer", "safetensors", "scikit-image",
        "scikit-learn", "scipy", "seaborn", "selenium", "sentry-sdk", "setuptools", "shapely",
        "simplejson", "six", "sniffio", "soupsieve", "sphinx", "sqlalchemy", "sqlmodel", "starlette",
        "statsmodels", "streamlit", "sympy", "tabulate", "tenacity", "tensorboard", "tensorflow",
        "tokenizers", "toml", "tomli", "tomlkit", "torch", "torchvision", "tornado", "tox", "tqdm",
        "traitlets", "transformers", "twine", "typer", "typing-extensions", "tzdata", "urllib3", "uv",
        "uvicorn", "virtualenv", "watchdog", "websocket-client", "websockets", "werkzeug", "wheel",
        "wrapt", "xarray", "xgboost", "yarl", "zipp",
    }
)
