"""Faults in the layout of a page in Chromium: elements that stick out of their containers."""

from typing import Any

# Names of elements that are wider than the block they are in, or that hold more than they show from side to side.
STICKING_OUT = """
(() => {
  const block = (node) => {
    let at = node.parentElement;
    while (at && /^(inline|contents)/.test(getComputedStyle(at).display)) at = at.parentElement;
    return at ?? document.documentElement;
  };
  const name = (node) => `${node.tagName.toLowerCase()}.${node.className} "${node.textContent.trim().slice(0, 40)}"`;
  return [...document.body.querySelectorAll("*")].filter((node) => {
    if (!(node instanceof HTMLElement) || node.closest(".said, .skip, option, script")) return false;
    if (/^inline$/.test(getComputedStyle(node).display)) return false; // a space at the end of its line may hang out
    const [box, around] = [node.getBoundingClientRect(), block(node).getBoundingClientRect()];
    if (!box.width || !box.height) return false;
    if (box.right > around.right + 1 || box.left < around.left - 1) return true;
    if (/^(SELECT|INPUT)$/.test(node.tagName)) return false;
    return node.clientWidth > 0 && node.scrollWidth > node.clientWidth + 1;
  }).map(name);
})()
"""


def resize(page: Any, width: int, height: int) -> None:
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)


def sticking_out(page: Any) -> list[str]:
    """Elements wider than their container, with all that can be opened open."""
    page.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    return page.run(STICKING_OUT)
