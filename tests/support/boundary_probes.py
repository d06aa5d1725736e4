"""Ways out of a page, as data. `U` is an address of the probe's own, `N` its name, `P` a UDP port; `w` and `d` the page."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ZONE = "probe.example"

SCRIPTS: Mapping[str, str] = {
    "fetch": "w.fetch(U, {mode: 'no-cors'})",
    "fetch-keepalive": "w.fetch(U, {mode: 'no-cors', keepalive: true})",
    "fetch-later": "w.fetchLater('https://' + N + '/', {activateAfter: 0})",
    "xhr": "const x = new w.XMLHttpRequest(); x.open('GET', U); x.send()",
    "beacon": "w.navigator.sendBeacon(U, 'x')",
    "eventsource": "new w.EventSource(U)",
    "websocket": "new w.WebSocket('ws://' + N + '/')",
    "image": "new w.Image().src = U",
    "font": "new w.FontFace('x', 'url(' + U + ')').load().catch(() => 0)",
    "audio": "new w.Audio(U).load()",
    "video": "make('video', {src: U, preload: 'auto'})",
    "video-poster": "make('video', {poster: U})",
    "script": "make('script', {src: U})",
    "module": "make('script', {src: U, type: 'module'})",
    "import": "w.eval('import(\"' + U + '\").catch(() => 0)')",
    "stylesheet": "make('link', {rel: 'stylesheet', href: U})",
    "css-import": "make('style', {textContent: '@import url(' + U + ')'})",
    "css-image": "make('div', {style: 'width:9px;height:9px;background:url(' + U + ')'})",
    "css-font": "make('style', {textContent: '@font-face{font-family:q;src:url(' + U + ')} .q{font-family:q}'});"
    "make('p', {className: 'q', textContent: 'q'})",
    "svg-image": "make('div', {innerHTML: '<svg><image href=\"' + U + '\"/></svg>'})",
    "input-image": "make('input', {type: 'image', src: U})",
    "object": "make('object', {data: U})",
    "embed": "make('embed', {src: U})",
    "prefetch": "make('link', {rel: 'prefetch', href: U})",
    "preload": "make('link', {rel: 'preload', as: 'image', href: U})",
    "modulepreload": "make('link', {rel: 'modulepreload', href: U})",
    "preconnect": "make('link', {rel: 'preconnect', href: U})",
    "dns-prefetch": "make('link', {rel: 'dns-prefetch', href: U})",
    "frame": "make('iframe', {src: U})",
    "frame-srcdoc": "make('iframe', {srcdoc: '<img src=' + U + '>'})",
    "frame-srcdoc-moves": "make('iframe', {srcdoc: '<script>location=\"' + U + '\"</scr' + 'ipt>'})",
    "frame-srcdoc-refresh": "make('iframe', {srcdoc: '<meta http-equiv=refresh content=\"0;url=' + U + '\">'})",
    "frame-data": "make('iframe', {src: 'data:text/html,<img src=' + U + '>'})",
    "frame-data-moves": "make('iframe', {src: 'data:text/html,<script>location=\"' + U + '\"</scr' + 'ipt>'})",
    "frame-blob": "make('iframe', {src: w.URL.createObjectURL(new w.Blob(['<img src=' + U + '>'], {type: 'text/html'}))})",
    "frame-blob-moves": "make('iframe', {src: w.URL.createObjectURL(new w.Blob(['<script>location=\"' + U + "
    "'\"</scr' + 'ipt>'], {type: 'text/html'}))})",
    "frame-blank": "const f = make('iframe', {}); f.contentDocument.body.innerHTML = '<img src=' + U + '>'",
    "frame-blank-fetch": "const f = make('iframe', {}); f.contentWindow.fetch(U, {mode: 'no-cors'})",
    "worker": "new w.Worker(w.URL.createObjectURL(new w.Blob(['fetch(\"' + U + '\", {mode: \"no-cors\"})'])))",
    "worker-import": "new w.Worker(w.URL.createObjectURL(new w.Blob(['importScripts(\"' + U + '\")'])))",
    "worker-websocket": "new w.Worker(w.URL.createObjectURL(new w.Blob(['new WebSocket(\"ws://' + N + '/\")'])))",
    "shared-worker": "new w.SharedWorker(w.URL.createObjectURL(new w.Blob(['fetch(\"' + U + '\", {mode: \"no-cors\"})'])))",
    "worklet": "w.CSS.paintWorklet.addModule(U)",
    "popup": "w.open(U)",
    "popup-noopener": "w.open(U, '_blank', 'noopener')",
    "link-blank": "make('a', {href: U, target: '_blank'}).click()",
    "link-ping": "make('a', {href: 'javascript:void 0', ping: U}).click()",
    "form-blank": "make('form', {action: U, target: '_blank'}).submit()",
    "form-in-frame": "make('iframe', {name: 'inner'}); make('form', {action: U, target: 'inner', method: 'post'}).submit()",
    "webrtc-stun": "rtc(w, {urls: 'stun:' + N + ':' + P})",
    "webrtc-turn": "rtc(w, {urls: 'turn:' + N + ':' + P, username: 'a', credential: 'b'})",
    "webrtc-turn-tcp": "rtc(w, {urls: 'turn:' + N + ':80?transport=tcp', username: 'a', credential: 'b'})",
    "webrtc-address": "rtc(w, {urls: 'stun:198.51.100.8:' + P})",
}
"""Scripts that leave the page where it is: all run on one load."""

LEAVING: Mapping[str, str] = {
    "location": "w.location = U",
    "location-replace": "w.location.replace(U)",
    "refresh": "make('meta', {httpEquiv: 'refresh', content: '0;url=' + U})",
    "link": "make('a', {href: U}).click()",
    "link-area": "make('map', {innerHTML: '<area id=ar href=' + U + '>'}); d.getElementById('ar').click()",
    "form": "make('form', {action: U}).submit()",
    "form-post": "make('form', {action: U, method: 'post'}).submit()",
    "download": "make('a', {href: U, download: 'x'}).click()",
    "service-worker": "w.navigator.serviceWorker.register(w.location.pathname + '?body=' + "
    "encodeURIComponent('fetch(\"' + U + '\", {mode: \"no-cors\"})') + '&Content-Type=text/javascript')",
    "top": "w.top.location = U",
    "parent": "w.parent.location = U",
    "link-top": "make('a', {href: U, target: '_top'}).click()",
    "form-top": "make('form', {action: U, target: '_top'}).submit()",
    "open-top": "w.open(U, '_top')",
    "open-parent": "w.open(U, '_parent')",
    "webrtc-in-frame": "const f = make('iframe', {}); rtc(f.contentWindow, {urls: 'stun:' + N + ':' + P})",
    "navigation-api": "w.navigation.navigate(U)",
}
"""Scripts that take the page away, or may: one load each."""

HEADERS: Mapping[str, Mapping[str, str]] = {
    "redirect": {"status": "302", "Location": "{U}"},
    "refresh-header": {"Refresh": "0;url={U}"},
    "link-header": {"Link": "<{U}x.css>; rel=preload; as=style"},
    "csp-report": {
        "Content-Security-Policy": "img-src 'none'; report-uri {U}",
        "body": "<body><img src=/x>",
    },
}
"""What a server in the workspace puts into an answer; the control is a bare server that says the same."""

LINK = "make('a', {href: U, id: 'go', textContent: 'go', style: 'position:fixed;inset:0;font-size:80px;background:#fff'})"
GESTURES: Mapping[str, tuple[str, str]] = {
    "click": (LINK, "click"),
    "click-blank": (f"{LINK}.target = '_blank'", "click"),
    "click-top": (f"{LINK}.target = '_top'", "click"),
    "click-ctrl": (LINK, "Control"),
    "click-shift": (LINK, "Shift"),
    "click-alt": (LINK, "Alt"),
    "click-middle": (LINK, "middle"),
    "click-download": (f"{LINK}.download = 'x'", "click"),
    "click-popup": ("d.body.onclick = () => w.open(U); " + LINK + ".href = '#'", "click"),
    "press": (LINK, "press"),
}
"""A link over the whole page, and what a person is led to do with it."""

MARKUP: Mapping[str, str] = {
    "image": '<img src="{U}">',
    "image-set": '<img srcset="{U} 2x, {U} 1x">',
    "picture": '<picture><source srcset="{U}"><img src="data:,"></picture>',
    "style-import": '<style>@import url("{U}");</style>',
    "style-attribute": '<div style="width:9px;height:9px;background:url({U})">x</div>',
    "stylesheet": '<link rel="stylesheet" href="{U}">',
    "preconnect": '<link rel="preconnect" href="{U}">',
    "dns-prefetch": '<link rel="dns-prefetch" href="{U}">',
    "prefetch": '<link rel="prefetch" href="{U}">',
    "frame": '<iframe src="{U}"></iframe>',
    "frame-srcdoc": '<iframe srcdoc="<img src={U}>"></iframe>',
    "object": '<object data="{U}"></object>',
    "embed": '<embed src="{U}">',
    "video": '<video src="{U}" preload="auto"></video>',
    "video-poster": '<video poster="{U}"></video>',
    "audio": '<audio src="{U}" preload="auto"></audio>',
    "svg-image": '<svg width="9" height="9"><image href="{U}" width="9" height="9"/></svg>',
    "input-image": '<input type="image" src="{U}">',
}
IN_MARKDOWN = ("image", "style-attribute", "video", "video-poster", "audio", "input-image")
"""What Lab lets through of these in a Markdown cell, and in a notebook that is not trusted."""
"""What needs no script: for places that take markup."""

ANSWERS: Mapping[str, str] = {
    "too-long": "/" + "a" * 9000,
    "header-too-long": "big",
    "download": "files/probes.ipynb",
    "not-found": "/nowhere",
    "bad-redirect": "own?status=302&Location=http%3A%2F%2Felsewhere.probe.example%2F",
    **{
        f"own-{status}": f"own?status={status}&Content-Security-Policy=default-src%20*"
        for status in (400, 403, 404, 421, 502, 503)
    },
}
"""Answers of a workspace's host, by what to ask for below its base (or of the host, with a slash): of the proxy itself,
then of a server in the workspace that says what it likes."""
THROUGH = ("fetch", "image", "websocket", "frame", "frame-srcdoc-moves")
"""What is tried in a document that was made of such an answer, by the page beside it."""

HELPERS = """
const make = (tag, set) => { const e = d.createElement(tag); Object.assign(e, set);
  if (set.style) e.style.cssText = set.style;
  for (const k of ['as', 'ping', 'download', 'poster', 'content', 'target']) if (set[k]) e.setAttribute(k, set[k]);
  (tag === 'meta' ? d.head : d.body).append(e); return e; };
const rtc = (w, server) => { const c = new w.RTCPeerConnection({iceServers: [server]});
  c.createDataChannel('x'); c.createOffer().then(o => c.setLocalDescription(o)); (w.kept ??= []).push(c); };
"""


def address(technique: str, place: str) -> str:
    """Return the name that belongs to one probe."""
    return f"{technique}.{place}.{ZONE}"


@dataclass(frozen=True)
class Ports:
    """UDP ports by place and technique."""

    first: int
    places: tuple[str, ...]

    def port(self, technique: str, place: str) -> int:
        """Return the port of one probe."""
        known = [name for name in SCRIPTS if name.startswith("webrtc")]
        return (
            self.first
            + self.places.index(place) * len(known)
            + (known.index(technique) if technique in known else 0)
        )

    def name_of(self, port: int) -> str | None:
        """Return the name of the probe that a port belongs to."""
        for place in self.places:
            for technique in SCRIPTS:
                if technique.startswith("webrtc") and self.port(technique, place) == port:
                    return address(technique, place)
        return None


def script(techniques: Mapping[str, str], place: str, ports: Ports, window: str = "window") -> str:
    """Return JavaScript that tries techniques one after the other; each fails alone."""
    listed = [
        [name, code, address(name, place), ports.port(name, place)] for name, code in techniques.items()
    ]
    return (
        f"((w) => {{ for (const [, code, N, P] of {json.dumps(listed)}) {{ try {{ const d = w.document; "
        f"new Function('w', 'd', 'U', 'N', 'P', {json.dumps(HELPERS)} + code)(w, d, `http://${{N}}/`, N, P); "
        f"}} catch (e) {{ }} }} }})({window})"
    )


def through_answer(name: str, base: str, ports: Ports) -> str:
    """Return JavaScript that opens an answer in a frame and uses its document to get out."""
    address = ANSWERS[name]
    address = address if address.startswith("/") else base + address
    tries = script({key: SCRIPTS[key] for key in THROUGH}, f"{name}.answer", ports, "f.contentWindow")
    return (
        f"document.cookie = 'big={'b' * 3900}; path={base}big'; document.cookie = 'bigger={'b' * 3900}; path={base}big';"
        f"document.cookie = 'biggest={'b' * 3900}; path={base}big';"
        f"{{ const f = document.createElement('iframe'); (window.answered ??= {{}})[{json.dumps(name)}] = f; "
        f"f.onload = () => {{ f.onload = null; {tries}; }}; "
        f"f.src = {json.dumps(address)}; document.body.append(f); }}"
    )


def away_from_answer(name: str, ports: Ports) -> str:
    """Return JavaScript that moves the frame of `through_answer` elsewhere, which ends all that it still tries."""
    window = f"window.answered[{json.dumps(name)}].contentWindow"
    return script({"location": LEAVING["location"]}, f"{name}.answer", ports, window)


def markup(place: str, techniques: Iterable[str] = MARKUP) -> dict[str, str]:
    """Return the markup of each technique for a place."""
    return {
        name: MARKUP[name].replace("{U}", f"http://{address('markup-' + name, place)}/")
        for name in techniques
    }


def by_event(code: str) -> str:
    """Return markup that runs a script without a script element."""
    packed = base64.b64encode(code.encode()).decode()
    return f"""<img src="data:," onerror="(0,eval)(atob('{packed}'))">"""
