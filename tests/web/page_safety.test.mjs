// What must never happen on the page, whatever a model or a file says; and that everybody can use it.
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';

import {errorAnswer, launch, openPage, until} from './browser.mjs';
import {startServer} from './server.mjs';

let browser;
let server;

before(async () => {
  browser = await launch();
  server = await startServer();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

const kAttacks = [
  '<script>window.hit = 1</script>',
  '<img src=x onerror="window.hit = 1">',
  '<svg onload="window.hit = 1"><iframe srcdoc="<script>parent.hit = 1</script>"></iframe></svg>',
  '[a](javascript:window.hit=1) [b](JaVaScRiPt:window.hit=1) [c](data:text/html,<script>window.hit=1</script>)',
  '[d](java\nscript:window.hit=1) [e]( javascript:window.hit=1) [f](<javascript:window.hit=1>) [g](vbscript:x) [h](\u0001javascript:x)',
  '[i](java&#x09;script:x) [j](//evil.example) [k](/v1/models) [l](file:///etc/passwd) [m](blob:x)',
  '![p](http://127.0.0.1:1/pixel.png) <javascript:window.hit=1> <a href="javascript:window.hit=1">n</a>',
  '[o](https://ok.example/"onmouseover="window.hit=1) https://ok.example/"><script>window.hit=1</script>',
  '```html\n<script>window.hit = 1</script>\n```\n`<b onclick=x>` | <td onclick=x> |\n|---|\n',
  '<style>body{display:none}</style><form action="https://other.example"><input></form><base href="https://other.example/"><meta http-equiv=refresh content="0;url=https://other.example">',
];

async function assertHarmless(page) {
  const found = await page.evaluate(() => ({
    hit: window.hit,
    tags: [...document.querySelectorAll('#thread *')].map((element) => element.localName).filter((name) => !['article', 'p', 'div', 'span', 'button', 'svg',
      'path', 'br', 'code', 'pre', 'figure', 'figcaption', 'table', 'thead', 'tbody', 'tr', 'th', 'td', 'a', 'details', 'summary', 'em', 'strong',
      'ul', 'ol', 'li', 'blockquote', 'h3', 'h4', 'del', 'hr'].includes(name)),
    handlers: [...document.querySelectorAll('*')].flatMap((element) => element.getAttributeNames().filter((name) => name.startsWith('on') || name === 'style'))
      .filter((name) => name !== 'style'),
    links: [...document.querySelectorAll('#thread a')].map((link) => [link.protocol, link.rel, link.target]),
  }));
  assert.equal(found.hit, undefined);
  assert.deepEqual(found.tags, []);
  assert.deepEqual(found.handlers, []);
  for (const [protocol, rel, target] of found.links) {
    assert.ok(['http:', 'https:', 'mailto:'].includes(protocol), protocol);
    assert.match(rel, /noopener/);
    assert.equal(target, '_blank');
  }
  return found;
}

test('nothing in a prompt or a reply becomes markup', {timeout: 120000}, async () => {
  const user = await openPage(browser, server.url);
  const {page} = user;
  const outside = [];
  page.on('request', (request) => !request.url().startsWith(server.url) && outside.push(request.url()));
  // To the real model, which may repeat it.
  await user.say(kAttacks[0]);
  await user.say('My name is <img src=x onerror=window.hit=1>.');
  await user.say("What's my name?");
  await assertHarmless(page);
  assert.deepEqual((await user.said())[0], kAttacks[0]);
  // Crafted replies and thoughts, all at once.
  const all = kAttacks.join('\n\n');
  await user.answer(all);
  await user.say(all);
  const {links} = await assertHarmless(page);
  assert.ok(links.length >= 2, 'good links are links');
  for (const link of await page.locator('#thread a').all()) assert.doesNotMatch(await link.getAttribute('href'), /script:|data:|evil|\/v1|passwd|blob:/i);
  // Names, in the list and in the title.
  await page.hover('.conversation >> nth=0');
  await page.click('.conversation >> nth=0 >> [aria-label^="Rename"]');
  await page.keyboard.insertText('<img src=x onerror=window.hit=1>');
  await page.keyboard.press('Enter');
  await user.reload();
  assert.deepEqual(await user.titles(), ['<img src=x onerror=window.hit=1>']);
  await user.asUsual();
  await user.answer(errorAnswer(400, '<img src=x onerror=window.hit=1>'));
  user.expected = /status of 400/;
  await user.send('x');
  await user.notice().waitFor();
  await assertHarmless(page);
  assert.deepEqual(outside, []);
  await user.close();
});

test('the policy stops what would slip through', {timeout: 120000}, async () => {
  const user = await openPage(browser, server.url, {expected: /policy violated|Content Security Policy|Trusted|Refused|violates/});
  const {page} = user;
  const headers = (await (await fetch(server.url)).headers).get('content-security-policy');
  assert.match(headers, /default-src 'none'.*require-trusted-types-for 'script'/);
  const outcome = await page.evaluate(() => {
    const tried = {};
    try {
      document.body['inner' + 'HTML'] = '<p>x</p>';
    } catch (error) {
      tried.markup = error.name;
    }
    const script = document.createElement('script');
    try {
      script.textContent = 'window.hit = 1';
      document.body.append(script);
    } catch (error) {
      tried.script = error.name;
    }
    return {...tried, hit: window.hit};
  });
  assert.equal(outcome.markup, 'TypeError');
  assert.equal(outcome.hit, undefined);
  await until(() => user.problems.some((problem) => /policy violated|violates/.test(problem)), 'the violation is reported, so the other tests would see one');
  await user.close();
});

test('Markdown: what each form becomes', {timeout: 120000}, async () => {
  const user = await openPage(browser, server.url);
  const cases = [
    ['a *b* **c** ***d*** ~~e~~ `f`', 'p(a em(b) strong(c) em(strong(d)) del(e) code(f))'],
    ['snake_case_name and 2 * 3 * 4', 'p(snake_case_name and 2 * 3 * 4)'],
    ['**open and *never closed', 'p(**open and *never closed)'],
    ['# One\n###### Six\n#hash', 'h3(One) h6(Six) p(#hash)'],
    ['- a\n- b\n  - c\n\n1. d\n2. e', 'ul(li(a) li(b ul(li(c)))) ol(li(d) li(e))'],
    ['3. c\n4. d', 'ol[start=3](li(c) li(d))'],
    ['- a\n\n- b', 'ul(li(p(a)) li(p(b)))'],
    ['1. do\n```sh\nls\n```\n2. see', 'ol(li(do)) figure(figcaption(span(sh)) pre(code(ls))) ol[start=2](li(see))'],
    ['- [ ] open\n- [x] done', 'ul(li(☐ open) li(☑ done))'],
    ['> q\n> r\n\nafter', 'blockquote(p(q br() r)) p(after)'],
    ['|a|b|\n|:-|-:|\n|1|2|\n|\\||`x`|', 'div(table(thead(tr(th(a) th(b))) tbody(tr(td(1) td(2)) tr(td(|) td(code(x))))))'],
    ['a | b\nno table', 'p(a | b br() no table)'],
    ['~~~\n# not a heading\n~~~', 'figure(figcaption(span(text)) pre(code(# not a heading)))'],
    ['````\n```\n````', 'figure(figcaption(span(text)) pre(code(```)))'],
    ['[t](https://e.org/a_(b) "title") <https://e.org> https://e.org/x.', 'p(a[href=https://e.org/a_(b)](t) a[href=https://e.org/](https://e.org) a[href=https://e.org/x](https://e.org/x) .)'],
    ['[**b** `c`](mailto:a@e.org)', 'p(a[href=mailto:a@e.org](strong(b) code(c)))'],
    ['[no](javascript:x) ![pic](https://e.org/p.png)', 'p([no](javascript:x) a[href=https://e.org/p.png](pic))'],
    ['a\\*b\\* &lt;b&gt; <br> <b>x</b>', 'p(a*b* <b> br() <b>x</b>)'],
    ['***', 'hr()'],
    ['   ', ''],
  ];
  const results = await user.page.evaluate(async (inputs) => {
    const {MarkdownView} = await import('/markdown.js');
    const show = (node) => {
      if (node.nodeType === 3) return node.data;
      if (node.matches('button, svg')) return '';
      const notes = node.localName === 'a' ? `[href=${node.getAttribute('href')}]` : node.getAttribute('start') ? `[start=${node.getAttribute('start')}]` : '';
      return `${node.localName}${notes}(${[...node.childNodes].map(show).map((text) => text.trim()).filter(Boolean).join(' ')})`;
    };
    return inputs.map((input) => {
      const place = document.createElement('div');
      new MarkdownView(place).update(input);
      place.normalize();
      return [...place.childNodes].map(show).join(' ');
    });
  }, cases.map(([input]) => input));
  cases.forEach(([input, wanted], i) => assert.equal(results[i], wanted, JSON.stringify(input)));
  await user.close();
});

test('Markdown: a text that grows looks at each moment like the same text at once, and hostile ones are quick', {timeout: 120000}, async () => {
  const user = await openPage(browser, server.url);
  const outcome = await user.page.evaluate(async () => {
    const {MarkdownView} = await import('/markdown.js');
    const once = (text) => {
      const place = document.createElement('div');
      new MarkdownView(place).update(text);
      place.normalize();
      return place;
    };
    // Texts drawn from the marks that matter: a small generator with a fixed seed, so that a failure comes again.
    let state = 12345;
    const random = (below) => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 8) % below;
    };
    const parts = ['\n', '\n\n', ' ', '  ', '- ', '1. ', '1', '2) ', '# ', '> ', '```', '```js\n', '~~~', '|', '|-|-|\n', '|a|b|\n', '---', '*', '**', '_', '`', '[', '](', ')', '](https://e.org)',
                   'word', 'two words', '.', '\\', '<', 'https://e.org/', '&amp;', '    ', '\t', 'é', '🙂', '\r\n'];
    for (let round = 0; round < 150; ++round) {
      let text = '';
      const place = document.createElement('div');
      const view = new MarkdownView(place);
      for (let i = 0; i < 60; ++i) {
        text += parts[random(parts.length)];
        view.update(text);
        const grown = place.cloneNode(true);
        grown.normalize();
        if (!grown.isEqualNode(once(text))) return {text, round};
      }
    }
    // The finished part keeps its nodes.
    const place = document.createElement('div');
    const view = new MarkdownView(place);
    view.update('one\n\ntwo\n\nthree');
    const first = place.firstChild;
    view.update('one\n\ntwo\n\nthree and more\n\nfour');
    const kept = place.firstChild === first;

    const began = performance.now();
    const hostile = ['*', '_', '**a ', '[', '](', '`', '``` `', '<', '> ', '- ', '1. ', '|', '| a ', '\\', '![', '*a _b ', '[a](', '[a](<', '<https://', 'https://e.org/)', '&', '# ', '    ', '~~', '- - '].map((unit) => unit.repeat(Math.ceil(30000 / unit.length)));
    hostile.push(`${'`'.repeat(20000)} x \``, `a|b\n${'- '.repeat(15000)}`, `# ${' '.repeat(30000)}x`, `${'-'.repeat(30000)}x`, '> '.repeat(5000) + 'deep',
                 Array.from({length: 3000}, (_, i) => `${' '.repeat(Math.min(i, 200) * 2)}- x`).join('\n'), Array.from({length: 200}, (_, i) => '`'.repeat(i + 1)).join(' '));
    let slowest = [0, ''];
    let deepest = 0;
    for (const text of hostile) {
      const start = performance.now();
      let node = once(text);
      const took = performance.now() - start;
      if (took > slowest[0]) slowest = [took, text.slice(0, 20)];
      let depth = 0;
      for (let all = [...node.children]; all.length > 0; ++depth) all = all.flatMap((element) => [...element.children]);
      deepest = Math.max(deepest, depth);
    }
    return {kept, deepest, slowest, took: performance.now() - began};
  });
  assert.equal(outcome.text, undefined, `grown and whole differ: ${JSON.stringify(outcome.text)} in round ${outcome.round}`);
  assert.equal(outcome.kept, true);
  assert.ok(outcome.deepest < 120, `nested ${outcome.deepest} deep`);
  // Not a time limit for speed: with a scan that goes back and forth this takes minutes.
  assert.ok(outcome.took < 20000, `${outcome.took} ms, slowest ${outcome.slowest}`);
  await user.close();
});

test('dark and light: by the system, by choice, and readable', {timeout: 120000}, async () => {
  for (const scheme of ['light', 'dark']) {
    const user = await openPage(browser, server.url, {colorScheme: scheme});
    const {page} = user;
    const look = () => page.evaluate(() => {
      const style = getComputedStyle(document.documentElement);
      const light = (name) => {
        const hex = style.getPropertyValue(name).trim();
        const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
      const pairs = ['--ink', '--soft-ink', '--accent', '--danger'].flatMap((text) => ['--paper', '--panel', '--raised', '--tint', '--code'].map((ground) => [text, ground, ratio(text, ground)]));
      pairs.push(['--on-accent', '--accent', ratio('--on-accent', '--accent')], ['--paper', '--ink', ratio('--paper', '--ink')]);
      return {dark: light('--paper') < 0.2, poor: pairs.filter(([, , value]) => value < 4.5), edge: ratio('--strong-line', '--paper')};
    });
    let seen = await look();
    assert.equal(seen.dark, scheme === 'dark');
    assert.deepEqual(seen.poor, []);
    assert.ok(seen.edge >= 3, `edges of fields: ${seen.edge}`);
    await page.keyboard.press('Control+,');
    await page.getByLabel(scheme === 'dark' ? 'Light' : 'Dark', {exact: true}).check({force: true});
    seen = await look();
    assert.equal(seen.dark, scheme !== 'dark');
    assert.deepEqual(seen.poor, []);
    await user.reload();
    assert.equal((await look()).dark, scheme !== 'dark', 'the choice is kept');
    await user.close();
  }
});

test('every control has a name, every dialog too', {timeout: 120000}, async () => {
  const user = await openPage(browser, server.url);
  const {page} = user;
  const session = await user.context.newCDPSession(page);
  const controls = ['button', 'textbox', 'searchbox', 'link', 'checkbox', 'radio', 'combobox', 'spinbutton', 'meter', 'dialog', 'region', 'navigation',
                    'DisclosureTriangle', 'group', 'radiogroup', 'article', 'table', 'form', 'list'];
  const nameless = ['group', 'list', 'table', 'DisclosureTriangle'];  // may do without
  const check = async (where, atLeast) => {
    const {nodes} = await session.send('Accessibility.getFullAXTree');
    const shown = nodes.filter((node) => !node.ignored && controls.includes(node.role?.value));
    assert.ok(shown.length >= atLeast, `${where}: ${shown.length} controls`);
    const without = shown.filter((node) => !node.name?.value && !nameless.includes(node.role.value)).map((node) => node.role.value);
    assert.deepEqual(without, [], where);
    return shown.map((node) => `${node.role.value} ${node.name?.value}`);
  };
  await check('empty', 12);
  await user.answer('Text with [a link](https://e.org).\n\n```js\nx\n```\n\n|a|\n|-|\n|b|');
  await user.say('Hello');
  const names = await check('a conversation', 18);
  for (const name of ['button Copy code', 'button Copy this reply', 'link a link', 'textbox Message', 'region Code, js', 'article You', 'article Reply']) assert.ok(names.includes(name), name);
  await page.keyboard.press('ArrowUp');
  await check('editing', 15);
  await page.keyboard.press('Escape');
  for (const [opener, least] of [['#open-settings', 15], ['#open-help', 2]]) {
    await page.click(opener);
    await check(opener, least);
    await page.keyboard.press('Escape');
  }
  // What is streamed is not read out bit by bit: the only live region is the announcer.
  const live = await page.evaluate(() => [...document.querySelectorAll('[aria-live], [role="status"], [role="log"], [role="alert"]')].filter((region) => region.closest('#thread')).length);
  assert.equal(live, 0);
  assert.equal(await page.getAttribute('html', 'lang'), 'en');
  await user.close();
});

test('speech: sentences as they come, and an interruption stops voice and reply', {timeout: 120000}, async () => {
  const user = await openPage(browser, server.url, {prepare: (page) => page.addInitScript(() => {
    window.spoken = [];
    window.silenced = 0;
    Object.defineProperty(window, 'speechSynthesis', {value: {getVoices: () => [], speak: (one) => window.spoken.push(one.text), cancel: () => { ++window.silenced; }}});
    window.SpeechRecognition = class {
      start() { window.recognition = this; }
      stop() { this.onend(); }
    };
  })});
  const {page} = user;
  await page.click('#aloud');
  await user.answer('First **one**. Version 1. 5 of it, e.g. this!\n\n```js\nlet x;\n```\nSee [here](https://e.org).');
  await user.send('Speak');
  await until(() => page.evaluate(() => window.spoken.length >= 4), 'sentences');
  const spoken = await page.evaluate(() => window.spoken.map((text) => text.replace(/\s+/g, ' ')));
  assert.equal(spoken.join(' ').replace(/\s+([.!])/g, '$1'), 'First one. Version 1. 5 of it, e.g. this! (code) See here.');
  assert.equal(await page.getAttribute('#send', 'aria-label'), 'Stop', 'the voice can be stopped');

  const before = await page.evaluate(() => window.silenced);
  await page.click('#listen');
  assert.ok(await page.evaluate(() => window.silenced) > before, 'who begins to speak is listened to');
  assert.equal(await page.getAttribute('#listen', 'aria-pressed'), 'true');
  await page.evaluate(() => {
    window.recognition.onresult({results: [[{transcript: 'what is'}]]});
    window.recognition.onresult({results: [[{transcript: 'what is swift'}]]});
    window.recognition.onend();
  });
  assert.equal(await page.inputValue('#prompt'), 'what is swift');
  assert.equal(await page.getAttribute('#listen', 'aria-pressed'), 'false');
  await user.close();
});

test('conversations go out to a file and come back; other files are refused by name', {timeout: 120000}, async () => {
  const user = await openPage(browser, server.url);
  const {page} = user;
  await user.answer('A reply.');
  await user.say('Keep me');
  await page.click('#open-settings');
  const [file] = await Promise.all([page.waitForEvent('download'), page.click('text=Export all')]);
  assert.match(file.suggestedFilename(), /^qwen35-conversations-.*\.json$/);
  const chunks = [];
  for await (const chunk of await file.createReadStream()) chunks.push(chunk);
  const saved = JSON.parse(Buffer.concat(chunks).toString());
  assert.equal(saved.conversations.length, 1);

  const wipe = page.getByRole('button', {name: /delete all/i});
  await wipe.click();
  assert.equal((await user.titles()).length, 1, 'it asks first');
  await wipe.click();
  await until(async () => (await user.titles()).length === 0, 'an empty list');

  const take = async (value) => {
    await page.locator('#settings input[type=file]').setInputFiles({name: 'c.json', mimeType: 'application/json', buffer: Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))});
    return until(() => page.textContent('#transfer-state'), 'an answer').finally(() => page.evaluate(() => { document.querySelector('#transfer-state').textContent = ''; }));
  };
  await page.click('#open-settings');
  assert.match(await take('nonsense'), /not JSON/);
  assert.match(await take({form: 'else'}), /does not hold conversations/);
  assert.match(await take({...saved, version: 9}), /version 9/);
  const [one] = saved.conversations;
  const wrong = (nodes) => ({...saved, conversations: [{...one, nodes}]});
  assert.match(await take(wrong([{...one.nodes[0], parent: one.nodes[0].id}])), /message 1 follows/);
  assert.match(await take(wrong([one.nodes[0], one.nodes[0]])), /message 2 has no id of its own/);
  assert.match(await take(wrong([{...one.nodes[0], role: 'system'}])), /no role/);
  assert.match(await take(wrong('x')), /no list/);
  assert.deepEqual(await user.titles(), []);
  assert.match(await take(saved), /1 conversation taken in/);
  await page.keyboard.press('Escape');
  assert.deepEqual(await user.titles(), ['Keep me']);
  await user.reload();
  await page.click('.conversation-open');
  assert.deepEqual([await user.said(), await user.replies()], [['Keep me'], ['A reply.']]);
  await user.close();
});

test('a browser that is full or keeps nothing says so, and the conversation goes on', {timeout: 120000}, async () => {
  const full = await openPage(browser, server.url, {prepare: (page) => page.addInitScript(() => {
    IDBObjectStore.prototype.put = () => { throw new DOMException('full', 'QuotaExceededError'); };
    Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); };
  })});
  assert.match(await full.say('What is 17 plus 25?'), /42/);
  assert.match(await full.page.innerText('#notice-store'), /storage is full/);
  await full.close();
  const none = await openPage(browser, server.url, {prepare: (page) => page.addInitScript(() => {
    Object.defineProperty(window, 'indexedDB', {value: undefined});
  })});
  assert.match(await none.say('What is 17 plus 25?'), /42/);
  assert.match(await none.page.innerText('#notice-store'), /keeps nothing/);
  await none.close();
});

test('two tabs see the same conversations', {timeout: 120000}, async () => {
  const user = await openPage(browser, server.url);
  await user.answer('A reply.');
  const second = await user.context.newPage();
  await second.goto(server.url);
  await second.waitForSelector('body[data-ready]');
  await user.say('From the first tab');
  await until(async () => (await second.locator('.conversation-title').allInnerTexts()).includes('From the first tab'), 'the other tab');
  await user.close();
});
