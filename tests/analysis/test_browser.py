"""The page in a browser: it loads alone, says what the trace says, and obeys keys."""

import shutil

import pytest

from tests.analysis.test_page import HOSTILE, TEXT, data_of
from tests.analysis.test_task_exhibits import exhibit_of
from tests.analysis.test_traces import random_model
from wmlstm_jax.analysis.exhibits import exhibit_source, exhibit_text
from wmlstm_jax.analysis.page import write_page

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium; Debian has it as chromium"
)
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def exhibits(config, tmp_path_factory):
    """Of a model that reads with four heads and copies, and of one that only copies."""
    found = []
    for name, settings in (("read", {}), ("pointed", {"read": False})):
        settings = settings | {"read_dropout": 0.0}
        model = random_model(config, **settings)
        checkpoint = tmp_path_factory.mktemp("run") / name / "checkpoints" / "4"
        found.append(exhibit_text(model._replace(checkpoint=checkpoint), TEXT))
    return found


@pytest.fixture
def opened(browser, tmp_path):
    """Opens exhibits; afterwards nothing may have failed or been asked for."""
    wrong, pages = [], []

    def open_page(*exhibits, width=1280, **context):
        path = tmp_path / "memory.html"
        write_page(path, exhibits)
        view = {"width": width, "height": 900}
        page = browser.new_context(viewport=view, **context).new_page()
        pages.append(page)
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.on(
            "request",
            lambda request: request.url == path.as_uri() or wrong.append(request.url),
        )
        page.goto(path.as_uri())
        return page, data_of(path)

    open_page.wrong = wrong
    yield open_page
    for page in pages:
        page.context.close()
    assert wrong == []


def percent(thousandths):
    if thousandths == 0 or thousandths >= 100:
        return f"{(thousandths + 5) // 10} %"  # JavaScript rounds a half up.
    return f"{thousandths / 10:.1f} %"


def bars(page, number):
    """Name and share of each bar in one of the lists of the step."""
    grid = page.locator(".step .bars").nth(number)
    names = grid.locator(".name").evaluate_all(
        "all => all.map(each => each.lastChild.textContent)"
    )
    return list(zip(names, grid.locator(".share").all_text_contents(), strict=True))


def label(text):
    return text.replace("\n", "⏎") if text.strip(" ") else "␣" * len(text)


def test_its_numbers_are_those_of_the_trace(opened, exhibits):
    page, (data,) = opened(exhibits[0])
    lives = data["occupants"]
    for step in (0, 7, len(TEXT) - 1):
        page.evaluate("step => window.page.go(step)", step)
        assert page.locator(".step h3").first.text_content() == (
            f"Step {step}: {label(TEXT[step])} came in"
        )
        for head in range(4):
            flat = data["reads"][step][head]
            wanted = [
                (label(TEXT[lives["step"][at]]), percent(weight))
                for at, weight in zip(flat[::2], flat[1::2], strict=True)
            ]
            wanted.append(("nothing", percent(data["nulls"][step][head])))
            got = bars(page, head)
            assert got[: len(wanted)] == wanted
            assert [name for name, _ in got[len(wanted) :]] in ([], ["others"])
        copied = {}
        flat = data["copies"][step]
        for at, weight in zip(flat[::2], flat[1::2], strict=True):
            name = label(TEXT[lives["step"][at]])
            copied[name] = copied.get(name, 0) + weight
        got = bars(page, 4)
        wanted = [(name, percent(weight)) for name, weight in copied.items()]
        assert got[: len(wanted)] == wanted
        assert got[-1] == (
            "from the vocabulary",
            percent(1000 - data["copyShare"][step]),
        )
        if step + 1 < len(TEXT):
            said = page.locator(".step p").first.text_content()
            assert said == (
                f"Then came {label(TEXT[step + 1])}, to which it had given"
                f" {percent(data['given'][step])}."
            )
        tokens = page.locator(".text .token")
        classes = tokens.evaluate_all("all => all.map(each => [...each.classList])")
        for at, found in enumerate(classes):
            held = any(
                came == at and came <= step < end
                for came, end in zip(lives["step"], lives["end"], strict=True)
            )
            assert ("now" in found) == (at == step)
            assert ("later" in found) == (at > step)
            assert ("gone" in found) == (at <= step and not held)


def test_what_is_discarded_is_told_with_its_reason(opened, exhibits):
    page, (data,) = opened(exhibits[0])
    lives = data["occupants"]
    page.evaluate("() => window.page.go(12)")
    ((newcomer, old, row, _),) = data["writes"][12]
    assert lives["step"][newcomer] == 12 and old >= 0
    said = page.locator(".step p").nth(1).text_content()
    assert said.startswith(
        f"into slot {row}, in place of “{label(TEXT[lives['step'][old]])}” from step"
        f" {lives['step'][old]}: the oldest of 8."
    )


def test_keys_and_clicks_choose(opened, exhibits):
    page, _ = opened(*exhibits)
    last = len(TEXT) - 1

    def chosen():
        at = page.evaluate("() => [window.page.at, Number(window.page.slider.value)]")
        assert at[0] == at[1]
        return at[0]

    assert chosen() == len(TEXT) // 2
    keys = [
        "Home",
        "ArrowLeft",
        "ArrowRight",
        "PageDown",
        "PageUp",
        "End",
        "ArrowRight",
    ]
    for key, wanted in zip(keys, [0, 0, 1, 11, 1, last, last], strict=True):
        page.keyboard.press(key)
        assert chosen() == wanted, key
    page.locator(".text .token").nth(5).click()
    assert chosen() == 5
    for name, wanted in (("next", 6), ("back", 5), ("last", last), ("first", 0)):
        page.click(f"#{name}")
        assert chosen() == wanted
    page.keyboard.press("2")
    assert page.evaluate("() => window.page.select.value") == "1"
    assert page.locator(".step").first.locator("h3").all_text_contents()[1] == (
        "Head 2 read"
    )
    page.keyboard.press("9")  # There is none.
    assert page.evaluate("() => window.page.head") == 1
    page.keyboard.press("0")
    assert page.evaluate("() => window.page.head") == -1
    # Both stand at the same step.
    page.keyboard.press("ArrowRight")
    titles = page.locator(".step h3:first-child").all_text_contents()
    assert titles == [f"Step 1: {label(TEXT[1])} came in"] * 2
    canvas = page.locator("canvas").first
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] * 7.5 / len(TEXT), "y": 3})
    assert chosen() == 7
    assert page.locator(".under").first.text_content().startswith("Slot 0: ")
    page.keyboard.press("End")
    page.keyboard.press("t")
    before = page.evaluate("() => document.documentElement.dataset.theme")
    page.keyboard.press("t")
    assert page.evaluate("() => document.documentElement.dataset.theme") != before
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    page.wait_for_function("() => window.page.at >= 2")
    page.keyboard.press(" ")
    assert page.locator("#play").text_content() == "play"


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("dark", [True, False])
def test_it_fits_and_can_be_read(opened, exhibits, width, dark):
    wide = exhibits[0]._replace(tokens=["x" * 200, *exhibits[0].tokens[1:]])
    scheme = "dark" if dark else "light"
    page, _ = opened(wide, exhibits[1], width=width, color_scheme=scheme)
    for step in (0, 1, 12):
        page.evaluate("step => window.page.go(step)", step)
        size = "() => [document.documentElement.scrollWidth, window.innerWidth]"
        scrolled, inner = page.evaluate(size)
        assert scrolled <= inner == width
    back = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (back == "rgb(255, 255, 255)") == (not dark)


def test_a_hostile_text_is_only_a_text(opened, exhibits):
    words, facts = [HOSTILE] * len(TEXT), [(HOSTILE, HOSTILE)]
    hostile = exhibits[0]._replace(tokens=words, title=HOSTILE, facts=facts)
    page, _ = opened(hostile)
    for step in range(0, len(TEXT), 9):
        page.evaluate("step => window.page.go(step)", step)
    assert page.evaluate("() => window.hacked") is None
    assert page.locator("img").count() == 0
    assert page.locator("h2").text_content() == HOSTILE


def test_no_other_script_runs(opened, exhibits):
    """Not even one that got into the page."""
    page, _ = opened(exhibits[0])
    page.evaluate(
        "() => { const s = document.createElement('script');"
        " s.textContent = 'window.hacked = 1'; document.body.append(s); }"
    )
    assert page.evaluate("() => window.hacked") is None
    (said,) = opened.wrong
    assert "violates the following Content Security Policy" in said
    opened.wrong.clear()


def test_the_source_behind_a_word_is_shown(opened, pairs, tmp_path):
    model = random_model(pairs)
    model = model._replace(checkpoint=tmp_path / "run" / "checkpoints" / "4")
    exhibit = exhibit_source(model, ("say 7", "again 5"))
    page, (data,) = opened(exhibit)
    page.keyboard.press("Home")
    source = page.locator(".text.source .token")
    assert source.all_text_contents() == data["source"]
    flat = data["copies"][0]
    on_source = {-1 - at for at in flat[::2] if at < 0}
    shadows = source.evaluate_all("all => all.map(each => each.style.boxShadow)")
    assert {at for at, shadow in enumerate(shadows) if shadow} == on_source != set()


def test_answers_of_a_task_are_told(opened):
    exhibit = exhibit_of("vectors")
    page, (data,) = opened(exhibit)
    for step, (token, said) in enumerate(
        zip(data["tokens"], data["said"], strict=True)
    ):
        page.evaluate("step => window.page.go(step)", step)
        title = page.locator(".step h3").first.text_content()
        text = page.locator(".step").text_content()
        modes = zip(data["modes"], data["modeShares"][step][1], strict=True)
        assert ", ".join(f"{mode} {percent(share)}" for mode, share in modes) in text
        assert "Then came" not in text
        if said:
            given = percent(data["given"][step])
            assert title == f"Step {step}: {token}"
            assert f"It answered {said}, and had given {given} to the right" in text
        else:
            assert title == f"Step {step}: {token} came in"
            assert "It answered" not in text
