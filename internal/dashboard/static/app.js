// What saves the person at the page a reload. Every page works without it.
(() => {
  'use strict';

  // The answer to a POST stands under the page's own address, so that a reload does not post again.
  const replace = document.body.dataset.replace;
  if (replace) history.replaceState(null, '', replace);

  // Colours: at once, and kept by the server for the next page.
  document.addEventListener('submit', (event) => {
    const form = event.target;
    if (!form.matches('.themes') || !event.submitter) return;
    event.preventDefault();
    const theme = event.submitter.value;
    fetch(form.action, { method: 'POST', body: new URLSearchParams({ theme, back: '/' }), redirect: 'manual' });
    document.documentElement.dataset.theme = theme;
    for (const b of document.querySelectorAll('.themes button')) b.setAttribute('aria-pressed', b.value === theme);
  });

  // Copy buttons.
  const showButtons = (root) => { for (const b of root.querySelectorAll('[data-copy]')) b.hidden = false; };
  showButtons(document);
  document.addEventListener('click', async (event) => {
    const button = event.target.closest('[data-copy]');
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    const word = button.querySelector('span');
    try {
      await navigator.clipboard.writeText(source.textContent);
      word.textContent = 'Copied';
    } catch { // plain http, or refused: select it, so that one key press copies it
      getSelection().selectAllChildren(source);
      word.textContent = 'Selected';
    }
    setTimeout(() => { word.textContent = 'Copy'; }, 2000);
  });

  // "All events" covers every other choice.
  for (const set of document.querySelectorAll('[data-event-choice]')) {
    const cover = () => {
      const all = set.querySelector('[data-all]').checked;
      for (const group of set.querySelectorAll('.group')) {
        const head = group.querySelector('[data-group]');
        for (const box of group.querySelectorAll('input')) box.disabled = all || (box !== head && !!head?.checked);
      }
    };
    set.addEventListener('change', cover);
    cover();
  }

  // Relative times grow older on an open page, in the words of the server's moment.go.
  const relative = (then, now) => {
    const ago = now - then, s = Math.floor(Math.abs(ago) / 1000);
    if (s < 1) return 'just now';
    if (s >= 604800) return null; // a date says more
    const words = s < 60 ? s + ' s' : s < 3600 ? Math.floor(s / 60) + ' min' : s < 86400 ? Math.floor(s / 3600) + ' h' : Math.floor(s / 86400) + ' d';
    return ago < 0 ? 'in ' + words : words + ' ago';
  };
  // Exact times, and dates, are said in the zone of whoever looks; UTC is their title.
  const two = (n) => String(n).padStart(2, '0');
  const exact = (d) => {
    const off = -d.getTimezoneOffset(), size = Math.abs(off);
    return d.getFullYear() + '-' + two(d.getMonth() + 1) + '-' + two(d.getDate()) + ' ' + two(d.getHours()) + ':' + two(d.getMinutes()) + ':' + two(d.getSeconds()) +
      '.' + String(d.getMilliseconds()).padStart(3, '0') + ' UTC' + (off ? (off < 0 ? '\u2212' : '+') + two(Math.floor(size / 60)) + ':' + two(size % 60) : '');
  };
  const date = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });
  const age = () => {
    for (const t of document.querySelectorAll('time[title]')) {
      const at = new Date(t.dateTime);
      const words = t.dataset.exact === undefined ? relative(at.getTime(), Date.now()) ?? date.format(at) : exact(at);
      if (t.textContent !== words) t.textContent = words;
    }
  };
  age();
  setInterval(() => { if (!document.hidden) age(); }, 5000);

  // Live parts: the stream says that something changed; the part then asks for
  // itself again, with its own filters, unless the person is reading further down.
  const live = () => document.querySelector('[data-live]');
  const button = document.querySelector('[data-live-switch]');
  let source = null, dirty = false, busy = false, paused = false, last = 0, timer = 0;

  const say = (state, word) => {
    if (!button) return;
    button.dataset.state = state;
    button.querySelector('[data-live-word]').textContent = word;
  };
  // A button that is put in place anew between press and release is never clicked.
  let pressed = null;
  addEventListener('pointerdown', (event) => { pressed = event.target; }, true);
  for (const name of ['pointerup', 'pointercancel']) {
    addEventListener(name, () => setTimeout(() => { pressed = null; if (dirty) refresh(); }), true);
  }
  const reading = (part) => {
    if (pressed && part.contains(pressed)) return true;
    if (part.querySelector('.tick input:checked')) return true; // what is ticked would be lost
    const chosen = getSelection();
    return part.getBoundingClientRect().top < -200 || (!chosen.isCollapsed && part.contains(chosen.anchorNode));
  };
  const refresh = () => {
    const part = live();
    if (!part || !dirty || busy || paused || document.hidden) return;
    if (reading(part)) return say('waiting', 'New activity');
    const wait = last + Number(part.dataset.every) - Date.now();
    clearTimeout(timer);
    if (wait > 0) { timer = setTimeout(refresh, wait); return; }
    dirty = false;
    last = Date.now();
    htmx.trigger(part, 'live');
  };
  const listen = () => {
    if (document.hidden || paused || !live()) { source?.close(); source = null; return; }
    if (source) return;
    source = new EventSource('/live');
    // What happened between the making of the page, or the loss of the last
    // stream, and this moment was told to nobody: look once.
    source.onopen = () => { say('on', 'Live'); dirty = true; refresh(); };
    source.onerror = () => { say('off', 'Reconnecting'); };
    source.addEventListener('changed', () => { dirty = true; refresh(); });
  };
  if (live() && button) button.hidden = false;
  button?.addEventListener('click', () => {
    if (button.dataset.state === 'waiting') { scrollTo({ top: 0 }); getSelection().removeAllRanges(); return refresh(); }
    paused = !paused;
    button.setAttribute('aria-pressed', !paused);
    button.title = paused ? 'Follow changes' : 'Stop following changes';
    if (paused) say('paused', 'Paused'); else dirty = true;
    listen();
    refresh();
  });
  document.addEventListener('visibilitychange', () => { if (!document.hidden) dirty = true; listen(); refresh(); });
  addEventListener('scroll', () => { if (dirty) refresh(); }, { passive: true });
  addEventListener('pagehide', () => { source?.close(); source = null; });

  // Ticked deliveries: all of the page at once, and how many.
  const ticks = () => [...document.querySelectorAll('.tick input')];
  const counted = () => {
    const all = document.querySelector('[data-tick-all]');
    if (!all) return;
    const n = ticks().filter((t) => t.checked).length;
    all.closest('label').hidden = false;
    all.checked = n > 0 && n === ticks().length;
    all.indeterminate = n > 0 && !all.checked;
    document.querySelector('[data-ticked]').textContent = n ? n + ' ticked:' : 'None ticked';
    for (const b of document.querySelectorAll('[data-bulk] button')) b.disabled = n === 0;
  };
  document.addEventListener('change', (event) => {
    if (event.target.matches('[data-tick-all]')) for (const t of ticks()) t.checked = event.target.checked;
    else if (!event.target.closest('.tick')) return;
    counted();
    if (dirty) refresh();
  });
  counted();

  // What stood open stays open when a part is put in place anew.
  let open = [];
  document.addEventListener('htmx:beforeRequest', () => { busy = true; });
  document.addEventListener('htmx:beforeSwap', (event) => {
    // The person may have begun to read, or ticked something, since it was asked for.
    const { target, requestConfig } = event.detail;
    if (requestConfig.triggeringEvent?.type === 'live' && reading(target)) {
      event.detail.shouldSwap = false;
      dirty = true;
      return;
    }
    open = [...target.querySelectorAll('details[id]')].map((d) => [d.id, d.open]);
  });
  document.addEventListener('htmx:afterSwap', () => {
    for (const [id, was] of open) { const d = document.getElementById(id); if (d) d.open = was; }
    showButtons(document);
    counted();
    if (button) button.hidden = !live();
    age();
  });
  document.addEventListener('htmx:afterRequest', (event) => {
    busy = false;
    if (!event.detail.successful && event.detail.xhr.status !== 0) say('off', 'Could not refresh');
    else if (!paused && source?.readyState === EventSource.OPEN) say('on', 'Live');
    listen();
    refresh();
  });
  listen();
})();
