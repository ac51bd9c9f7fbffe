import pytest

from licmeter.runtime.kafka.lock import LockedJar, load_lock, parse_lock, render_lock

GOOD = f"org.example:part:1.0 {'0' * 64} part-1.0.jar"


def test_what_is_written_is_read_back() -> None:
    jars = parse_lock(GOOD)
    assert jars == (LockedJar("org.example:part:1.0", "0" * 64, "part-1.0.jar"),)
    assert parse_lock(render_lock(jars)) == jars


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("", id="no jar at all"),
        pytest.param(f"org.example:part {'0' * 64} part.jar", id="no version"),
        pytest.param("org.example:part:1.0 123 part.jar", id="not a sha256"),
        pytest.param(f"org.example:part:1.0 {'0' * 64} ../part.jar", id="a path for a name"),
        pytest.param(f"org.example:part:1.0 {'0' * 64} part.exe", id="not a jar"),
        pytest.param(f"{GOOD}\n{GOOD}", id="one jar twice"),
    ],
)
def test_a_wrong_lock_file_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"jars\.lock"):
        parse_lock(line)


def test_a_wrong_line_is_named() -> None:
    with pytest.raises(ValueError, match=r"jars\.lock:3"):
        parse_lock(f"# head\n{GOOD}\nwrong")


def test_the_committed_lock_names_kafka_its_logging_and_no_registry() -> None:
    jars = load_lock()
    coordinates = {jar.coordinate for jar in jars}
    assert "org.apache.kafka:kafka_2.13:4.3.1" in coordinates
    # Kafka's own parts must be of one version: a resolver once mixed 4.3 with clients of 3.9.
    assert {c.rsplit(":", 1)[1] for c in coordinates if c.startswith("org.apache.kafka:")} == {"4.3.1"}
    assert any(c.startswith("org.apache.logging.log4j:log4j-slf4j-impl:") for c in coordinates)
    assert "//" not in render_lock(jars)
