"""The example functions, deployed from their stack file for real, and what a stack file does at a restart."""

from __future__ import annotations

from pathlib import Path

from tests.gateway.workbench import ECHO, Bench

STACK = Path(__file__).parents[2] / "functions" / "stack.yml"


async def test_every_example_function_is_deployed_and_answers(idle_bench: Bench) -> None:
    bench = idle_bench
    await bench.start(functions=STACK)
    async with bench.request("GET", "/system/functions") as answer:
        names = [function["name"] for function in await answer.json()]
    assert {"echoit", "hello-python", "wordcount", "nodeinfo"} <= set(names)
    for name in names:
        await bench.ready(name)
        status, text = await bench.invoke(name, b"{}" if "al" in name else b"one two")
        assert status < 500, (name, text)
    assert (await bench.invoke("echoit", b"same"))[1] == "same"
    assert (await bench.invoke("wordcount", b"one two\n"))[1].split() == ["1", "2", "8"]


async def test_faas_cli_deploys_the_same_stack_by_image_and_template_command(idle_bench: Bench) -> None:
    bench = idle_bench
    await bench.start(functions=STACK)
    body = {"service": "echoit", "image": "gpio-bridge/echoit:latest", "envProcess": "python index.py", "envVars": {}}
    assert (await bench.call("PUT", "/system/functions", json=body))[0] == 202
    await bench.ready("echoit")
    assert await bench.invoke("echoit", b"x") == (200, "x")
    found = await bench.status("echoit")
    assert (found["image"], found["envProcess"]) == (body["image"], "python index.py")


async def test_a_stack_file_is_applied_again_only_where_it_has_changed(idle_bench: Bench) -> None:
    bench = idle_bench
    for name in ("a", "b", "c"):
        bench.handler(name, ECHO)
    file = bench.folder / "stack.yml"

    def write(*functions: str) -> None:
        lines = ["version: 1.0", "provider: {name: openfaas}", "functions:", *functions]
        file.write_text("\n".join(lines), encoding="utf-8")

    a, b, c = (f"  {name}: {{handler: ./handlers/{name}, image: {name}}}" for name in "abc")
    write(a, b, c)
    await bench.start(functions=file)
    for name in ("a", "b"):
        await bench.call("POST", f"/system/scale-function/{name}", json={"replicas": 2})
    await bench.stop()
    write(a, b.replace("image: b", "image: b2"))
    await bench.start()
    async with bench.request("GET", "/system/functions") as answer:
        found = {each["name"]: (each["image"], each["replicas"]) for each in await answer.json()}
    assert found == {"a": ("a", 2), "b": ("b2", 1)}
