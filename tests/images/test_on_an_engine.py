"""Images of functions on a real engine: built, pushed, deployed on a swarm, called, stopped."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

import bridge.runtime
from bridge.images.templates import source, write
from tests.gateway.swarm.bench import STANDING, SwarmBench
from tests.images.conftest import Workshop

FUNCTIONS = source().parent
DEADLINE_S = 200.0
pytestmark = pytest.mark.timeout(400)
STACK = """
version: 1.0
provider: {name: openfaas}
functions:
  hello-python:
    lang: python3-http
    handler: ${FUNCTIONS}/hello-python
    image: ${REGISTRY}/hello-python:${VERSION:-1}
    readonly_root_filesystem: true
  wordcount:
    lang: classic
    handler: ${FUNCTIONS}/wordcount
    image: ${REGISTRY}/wordcount:1
    fprocess: wc -w
"""


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    stdout: str
    stderr: str


class Project:
    """A folder with a stack file, and the command line as its owner uses it."""

    def __init__(self, folder: Path, workshop: Workshop) -> None:
        self.folder = folder
        self.workshop = workshop
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DOCKER", "OPENFAAS"))},
            "DOCKER_HOST": workshop.engine.host,
            "DOCKER_CONFIG": str(folder / "docker"),
            "FUNCTIONS": str(FUNCTIONS),
            "REGISTRY": workshop.registry,
            "XDG_RUNTIME_DIR": str(folder),
        }
        self.stack(STACK)

    def stack(self, text: str) -> None:
        (self.folder / "stack.yml").write_text(text, encoding="utf-8")

    def handler(self, name: str, **files: str) -> None:
        folder = self.folder / name
        folder.mkdir()
        for file, text in files.items():
            (folder / file.replace("_", ".")).write_text(text, encoding="utf-8")
        image = f"{self.workshop.registry}/{name}:1"
        self.stack(
            "version: 1.0\nprovider: {name: openfaas}\nfunctions:\n"
            f"  {name}: {{lang: python3, handler: ./{name}, image: '{image}'}}\n"
        )

    def words(self, *arguments: str) -> tuple[str, ...]:
        words = (sys.executable, "-m", "bridge", "functions", *arguments, "--file", str(self.folder / "stack.yml"))
        return (
            (*words, "--build-arg", f"PYTHON_IMAGE={self.workshop.base}") if arguments[0] in ("build", "up") else words
        )

    def run(self, *arguments: str, beside_the_registry: bool = False) -> Ended:
        into = ("nsenter", f"--net=/run/netns/{self.workshop.engine.name}") if beside_the_registry else ()
        done = subprocess.run(
            (*into, *self.words(*arguments)),
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    async def run_beside_the_gateway(self, *arguments: str) -> Ended:
        pid = self.workshop.engine.docker("inspect", "--format", "{{.State.Pid}}", STANDING)
        process = await asyncio.create_subprocess_exec(
            *("nsenter", f"--net=/proc/{pid}/ns/net", *self.words(*arguments)),
            env=self.environ,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(DEADLINE_S):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())


@pytest.fixture
def project(tmp_path: Path, workshop: Workshop) -> Project:
    return Project(tmp_path, workshop)


@pytest.fixture
async def swarm(tmp_path: Path, workshop: Workshop) -> AsyncIterator[SwarmBench]:
    bench = SwarmBench(tmp_path, workshop.engine)
    with workshop.engine.inside(STANDING):
        async with aiohttp.ClientSession() as session:
            bench.session = session
            await bench.start()
            yield bench
            await bench.stop()
    bench.clear()


Run = Callable[..., tuple[str, str]]


@pytest.fixture
def run(workshop: Workshop) -> Iterator[Run]:
    """Starts an image as a container without rights; its name and address."""
    started: list[str] = []

    def starter(image: str, *options: str) -> tuple[str, str]:
        hardened = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
        name = workshop.engine.docker("run", "--detach", *hardened, *options, image)
        started.append(name)
        return name, workshop.engine.docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", name)

    yield starter
    if started:
        workshop.engine.docker("rm", "--force", *started)


def ask(workshop: Workshop, address: str, body: bytes = b"", path: str = "/") -> tuple[int, bytes]:
    """One call from within the engine's network, as soon as the function listens."""
    with workshop.engine.inside_namespace():
        deadline = time.monotonic() + DEADLINE_S
        while True:
            connection = http.client.HTTPConnection(address, 8080, timeout=10)
            try:
                connection.request("POST", path, body)
                answer = connection.getresponse()
                return answer.status, answer.read()
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            finally:
                connection.close()


async def test_functions_are_built_pushed_deployed_and_called(project: Project, swarm: SwarmBench) -> None:
    made = project.run("up", "--skip-deploy", "--regex", "^(hello|word)")
    assert made.code == 0, made.stdout + made.stderr
    assert re.search(r"^hello-python \| Step 1/\d+ : ARG PYTHON_IMAGE", made.stdout, re.MULTILINE)
    assert re.search(r"^wordcount \| 1: digest: sha256:\w{64} size: \d+$", made.stdout, re.MULTILINE)
    # The task has to fetch it from the registry, as one on another machine.
    swarm.engine.docker("image", "rm", f"{project.workshop.registry}/wordcount:1")
    done = await project.run_beside_the_gateway(
        "deploy", "hello-python", "wordcount", "--gateway", swarm.gateway.url, "--env", "exec_timeout=5s"
    )
    assert (done.code, done.stdout) == (0, "hello-python: deployed\nwordcount: deployed\n"), done.stderr
    assert (await swarm.invoke("hello-python", b"Ada"))[1].startswith("Hello, Ada! This is ")
    assert await swarm.invoke("wordcount", b"three short words") == (200, "3\n")
    assert swarm.service("hello-python")["Spec"]["TaskTemplate"]["ContainerSpec"]["ReadOnly"] is True


def test_an_image_is_small_runs_as_nobody_special_and_holds_the_server_byte_for_byte(
    project: Project, workshop: Workshop
) -> None:
    assert project.run("build", "hello-python", "wordcount", "--quiet").code == 0
    base = int(workshop.engine.docker("image", "inspect", "--format", "{{.Size}}", workshop.base))
    for name, place in {"hello-python": "/home/app/runtime", "wordcount": "/opt/server/runtime"}.items():
        image = f"{workshop.registry}/{name}:1"
        about = json.loads(workshop.engine.docker("image", "inspect", image))[0]
        assert about["Config"]["User"] == "10001:10001"
        assert about["Size"] - base < 2_000_000
        within = ("run", "--rm", "--network", "none", "--entrypoint")
        assert workshop.engine.docker(*within, "id", image).startswith("uid=10001(app) gid=10001(app)")
        code = "import hashlib, json, pathlib, sys; p = pathlib.Path(sys.argv[1]);"
        code += "print(json.dumps({f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in p.glob('*.py')}))"
        inside = json.loads(workshop.engine.docker(*within, "python3", image, "-c", code, place))
        ours = Path(bridge.runtime.__file__).parent.glob("*.py")
        assert inside == {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in ours}


def test_packages_are_installed_and_sigterm_lets_a_call_in_the_container_finish(
    project: Project, workshop: Workshop, run: Run
) -> None:
    code = "import time, mdurl\ndef handle(req):\n    print('entered', flush=True)\n    time.sleep(1)\n"
    code += "    return mdurl.__name__\n"
    project.handler("slow", handler_py=code, requirements_txt="mdurl\n")
    assert project.run("build", "--quiet").code == 0
    name, address = run(f"{workshop.registry}/slow:1")
    assert ask(workshop, address, path="/_/health") == (200, b"OK\n")
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(ask, workshop, address)
        deadline = time.monotonic() + DEADLINE_S
        while "entered" not in workshop.engine.docker("logs", name):
            assert time.monotonic() < deadline
        workshop.engine.docker("stop", "--time", "10", name)
        assert call.result() == (200, b"mdurl")
    assert workshop.engine.docker("inspect", "--format", "{{.State.ExitCode}}", name) == "0"


@pytest.mark.parametrize(
    ("quiet", "files", "told"),
    [
        (
            True,
            {"handler_py": "def handle(req):\n    return\n", "requirements_txt": "no-such-package\n"},
            "No matching distribution found for no-such-package",
        ),
        (False, {"handler_py": "def handle(req)\n    return\n"}, "SyntaxError: expected ':'"),
    ],
    ids=["a package that there is not", "a handler that is no Python"],
)
def test_a_build_that_fails_prints_what_its_step_wrote(
    project: Project, files: dict[str, str], told: str, *, quiet: bool
) -> None:
    project.handler("broken", **files)
    done = project.run("build", *(["--quiet"] if quiet else []))
    assert done.code == 1
    assert told in (done.stderr if quiet else done.stdout)
    assert "Step 1/" not in done.stderr
    assert re.search(r"building .*/broken:1 failed: The command .* returned a non-zero code: \d", done.stderr)


def test_a_base_image_that_nobody_has_and_a_registry_that_is_away_are_told(project: Project) -> None:
    project.handler("f", handler_py="def handle(req): return req\n")
    (project.folder / "f" / "Dockerfile").write_text("FROM 127.0.0.1:9/nothing:1\n")
    text = (project.folder / "stack.yml").read_text()
    project.stack(text.replace("lang: python3", "lang: dockerfile").replace(project.workshop.registry, "127.0.0.1:9"))
    done = project.run("build")
    assert (done.code, "building 127.0.0.1:9/f:1 failed: " in done.stderr) == (1, True)
    assert "127.0.0.1:9" in done.stderr.partition("failed: ")[2]
    project.stack(text.replace(project.workshop.registry, "127.0.0.1:9"))
    assert project.run("build", "--quiet").code == 0
    done = project.run("push")
    assert (done.code, "pushing 127.0.0.1:9/f:1 failed" in done.stderr) == (1, True)


def test_an_image_for_several_platforms_is_one_name_under_which_each_finds_its_own(
    project: Project, workshop: Workshop
) -> None:
    project.handler("many", Dockerfile="FROM scratch\nCOPY Dockerfile /\n")
    project.stack((project.folder / "stack.yml").read_text().replace("lang: python3", "lang: dockerfile"))
    image = f"{workshop.registry}/many:1"
    made = project.run("up", "--skip-deploy", "--platform", "linux/amd64,linux/arm", beside_the_registry=True)
    assert made.code == 0, made.stdout + made.stderr
    last = made.stdout.splitlines()[-1]
    assert re.fullmatch(rf"many: joined linux/amd64, linux/arm/v7 in {image}: sha256:[0-9a-f]{{64}}", last)
    told = {}
    for platform in ("linux/amd64", "linux/arm/v7"):
        workshop.engine.docker("pull", "--platform", platform, image)
        form = "{{.Os}}/{{.Architecture}}{{if .Variant}}/{{.Variant}}{{end}}"
        told[platform] = workshop.engine.docker("image", "inspect", "--format", form, image)
    assert told == {platform: platform for platform in told}
    # One of the parts is not what its name says: nothing is joined.
    workshop.engine.docker("tag", f"{image}-linux-amd64", f"{image}-linux-arm64")
    done = project.run("push", "--platform", "linux/amd64,linux/arm64", beside_the_registry=True)
    assert (done.code, f"{image}-linux-arm64 is an image for linux/amd64, not for linux/arm64" in done.stderr) == (
        1,
        True,
    )
    workshop.engine.docker("pull", "--platform", "linux/arm/v7", image)


def test_without_an_engine_the_command_says_so(project: Project) -> None:
    done = project.run("build", "--host", f"unix://{project.folder}/nowhere.sock")
    assert done.code == 69
    assert "no such socket; is the engine running?" in done.stderr


def test_a_written_template_is_an_image_for_docker_build_alone(tmp_path: Path, workshop: Workshop, run: Run) -> None:
    write(tmp_path)
    for language, body, answer in (
        ("python3-http", b'{"data": 5}', b'{"seen": 5}'),
        ("classic", b"same", b"same"),
    ):
        argument = f"PYTHON_IMAGE={workshop.base}"
        workshop.engine.docker("build", "--build-arg", argument, "--tag", f"plain/{language}", str(tmp_path / language))
        _, address = run(f"plain/{language}")
        assert ask(workshop, address, body) == (200, answer)


async def test_a_handler_that_cannot_be_imported_fails_its_deployment_with_the_traceback(
    project: Project, swarm: SwarmBench
) -> None:
    project.handler("broken", handler_py="import nowhere\ndef handle(req): return req\n")
    done = await project.run_beside_the_gateway("up", "--quiet", "--gateway", swarm.gateway.url)
    assert done.code == 1
    # Which of the two is told depends on when the task, which ends again and again, was looked at.
    assert re.search(r"\(.*/stack.yml:4\) is deployed and (does not run|not ready after 60 s)", done.stderr)
    assert "\nbroken | Traceback (most recent call last):\n" in done.stderr
    assert "\nbroken | ModuleNotFoundError: No module named 'nowhere'\n" in done.stderr
    assert (await swarm.invoke("broken"))[0] == 503
