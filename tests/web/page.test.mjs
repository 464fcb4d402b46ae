// The chat page in a real browser, over the real server with the bundled model.
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';

import {errorAnswer, eventStream, launch, openPage, until} from './browser.mjs';
import {startServer} from './server.mjs';

let browser;
let server;
let endless;  // fields of a request for a reply that does not end by itself

before(async () => {
  browser = await launch();
  server = await startServer();
  const answer = await fetch(`${server.url}/tokenize`, {
    method: 'POST',
    headers: {'Content-Type': 'application/json'},
    body: JSON.stringify({prompt: '<|im_end|><|endoftext|>', special: true}),
  });
  const {tokens} = await answer.json();
  endless = {logit_bias: Object.fromEntries(tokens.map((token) => [token, -100])), max_tokens: 3500, temperature: 1.5, top_k: 0, top_p: 1};
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

test('a conversation remembers a name, shows what it took, and survives a reload', {timeout: 120000}, async () => {
  const user = await openPage(browser, server.url);
  const {page} = user;
  await page.waitForSelector('[data-state="online"]');
  assert.match(await page.innerText('#server-text'), /mini/);
  assert.equal(await page.locator('#examples button').count(), 4);

  await page.click('#examples button >> nth=0');
  await page.waitForSelector('.reply');
  await user.idle();
  assert.match(await user.lastReply(), /Zorblaxa/);
  assert.match(await user.say("What's my name?"), /Zorblaxa/);
  assert.match(await user.say('What is 17 plus 25?'), /42/);

  for (const stats of await page.locator('.stats').allInnerTexts()) assert.match(stats, /tokens\/s · first token .* · \d+ token/);
  assert.match(await page.innerText('#context-text'), /^\d+ of \S+ tokens$/);
  assert.equal(await page.title(), 'My name is Zorblaxa and I live in Tavimor. – qwen35');
  await until(async () => /42/.test(await page.textContent('#announcer')), 'the reply is announced once it is whole');

  await page.fill('#prompt', 'half a thought');
  const before = [await user.said(), await user.replies()];
  await user.reload();
  assert.deepEqual([await user.said(), await user.replies()], before);
  assert.equal(await page.inputValue('#prompt'), 'half a thought');
  assert.match(await user.say("What's my name?"), /Zorblaxa/);
  await user.close();
});

test('thinking is shown while it lasts and folded afterwards', {timeout: 120000}, async () => {
  const user = await openPage(browser, server.url);
  const {page} = user;
  await page.click('#think');
  assert.equal(await page.getAttribute('#think', 'aria-pressed'), 'true');
  assert.match(await user.say('What is 348 plus 275?'), /623/);
  await page.waitForSelector('.thinking');
  assert.match(await page.innerText('.thinking summary'), /^Thought for /);
  assert.equal(await page.locator('.thinking').evaluate((details) => details.open), false);
  await page.click('.thinking summary');
  assert.notEqual((await page.innerText('.thought')).trim(), '');
  await user.close();
});

test('Esc stops a reply; what came stays, and the next turn goes on from it', {timeout: 120000}, async () => {
  const user = await openPage(browser, server.url);
  const {page} = user;
  await user.alter(endless);
  await user.send('Tell me a joke.');
  await until(async () => (await user.lastReply()).length > 20, 'a reply that runs');
  assert.equal(await page.getAttribute('#send', 'aria-label'), 'Stop');
  await page.keyboard.press('Escape');
  await user.idle();
  const stopped = await user.lastReply();
  assert.match(await page.innerText('.reply .note'), /stopped/);
  await user.asUsual();
  assert.match(await user.say('What is 17 plus 25?'), /\d/);
  assert.equal((await user.replies())[0], stopped);
  await user.close();
});

test('an edit and a new reply are branches; none is lost', {timeout: 120000}, async () => {
  const user = await openPage(browser, server.url);
  const {page} = user;
  assert.match(await user.say('What is 17 plus 25?'), /42/);
  assert.match(await user.say('What is 10 plus 10?'), /20/);

  await page.hover('.user >> nth=0');
  await page.click('.user >> nth=0 >> [aria-label="Edit this message"]');
  assert.equal(await page.locator('.editor').evaluate((editor) => editor.getBoundingClientRect().top > 0 && document.activeElement === editor), true);
  await page.fill('.editor', 'What is 20 plus 30?');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.branches');
  await user.idle();
  assert.deepEqual(await user.said(), ['What is 20 plus 30?']);
  assert.match(await user.lastReply(), /50/);
  assert.equal(await page.innerText('.user .branch-count'), '2/2');

  await page.click('.user [aria-label="Previous version"]');
  assert.deepEqual(await user.said(), ['What is 17 plus 25?', 'What is 10 plus 10?']);
  assert.match((await user.replies())[0], /42/);

  await page.click('.reply >> nth=1 >> [aria-label="New reply"]');
  await page.waitForSelector('.reply .branches');
  await user.idle();
  assert.match(await user.lastReply(), /20/);
  assert.equal(await page.innerText('.reply .branch-count'), '2/2');
  await user.reload();
  assert.equal(await page.innerText('.reply .branch-count'), '2/2');

  // The arrow key opens the last message; Esc gives it up.
  await page.press('#prompt', 'ArrowUp');
  assert.equal(await page.inputValue('.editor'), 'What is 10 plus 10?');
  await page.keyboard.press('Escape');
  assert.equal(await page.locator('.editor').count(), 0);
  await user.close();
});

test('a reload in the middle of a reply keeps what was streamed', {timeout: 120000}, async () => {
  const user = await openPage(browser, server.url);
  const {page} = user;
  await user.alter(endless);
  await user.send('Tell me a joke.');
  await until(async () => (await user.lastReply()).length > 40, 'a reply that runs');
  const seen = await user.lastReply();
  await user.reload();
  assert.deepEqual(await user.said(), ['Tell me a joke.']);
  assert.ok((await user.lastReply()).startsWith(seen.slice(0, 20)), 'the beginning of the reply is there');
  assert.ok((await user.lastReply()).length >= seen.length);
  assert.match(await page.innerText('.reply .note'), /reloaded/);
  await user.asUsual();
  await page.click('.reply .note button');
  await page.waitForSelector('.reply .branches');
  await user.idle();
  assert.equal(await page.innerText('.reply .branch-count'), '2/2');
  await user.close();
});

test('a conversation that is deleted while its reply runs stays deleted', {timeout: 120000}, async () => {
  const user = await openPage(browser, server.url);
  const {page} = user;
  await user.say('What is 17 plus 25?');
  await user.alter(endless);
  await page.click('#new-conversation');
  await user.send('Tell me a joke.');
  await until(async () => (await user.lastReply()).length > 20, 'a reply that runs');
  await page.hover('.conversation >> nth=0');
  await page.click('[aria-label="Delete “Tell me a joke.”"]');
  assert.deepEqual(await user.titles(), ['What is 17 plus 25?']);
  await page.waitForTimeout(300);
  await user.reload();
  assert.deepEqual(await user.titles(), ['What is 17 plus 25?']);
  await user.close();
});

test('several conversations: their own ids and settings, search, rename, delete and undo', {timeout: 120000}, async () => {
  const user = await openPage(browser, server.url);
  const {page} = user;
  const requests = [];
  page.on('request', (request) => request.url().endsWith('/chat/completions')
    && requests.push({id: request.headers()['x-conversation-id'], body: JSON.parse(request.postData())}));

  await page.click('#open-settings');
  await page.getByLabel('System prompt').fill('Answer briefly.');
  await page.getByLabel('Temperature').fill('0');
  await page.getByLabel('Longest reply').fill('50');
  await page.getByLabel('Seed').fill('7');
  await page.keyboard.press('Escape');
  await user.say('My name is Velmora.');
  await user.say("What's my name?");
  await page.click('#new-conversation');
  assert.equal(await page.isVisible('#empty'), true);
  await user.say('What is 17 plus 25?');

  assert.equal(requests.length, 3);
  assert.match(requests[0].id, /^[0-9a-f]{32}$/);
  assert.equal(requests[0].id, requests[1].id);
  assert.notEqual(requests[0].id, requests[2].id);
  const {messages, temperature, max_tokens: longest, seed, enable_thinking: thinking, stream, top_p: topP} = requests[1].body;
  assert.deepEqual([temperature, longest, seed, thinking, stream, topP], [0, 50, 7, false, true, undefined]);
  assert.deepEqual(messages.map((message) => message.role), ['system', 'user', 'assistant', 'user']);
  assert.deepEqual(requests[2].body.messages, [{role: 'user', content: 'What is 17 plus 25?'}]);
  assert.equal(requests[2].body.temperature, undefined);

  assert.deepEqual(await user.titles(), ['What is 17 plus 25?', 'My name is Velmora.']);
  await page.fill('#search', 'velmora');
  assert.deepEqual(await user.titles(), ['My name is Velmora.']);
  await page.press('#search', 'Enter');
  assert.equal((await user.said()).length, 2);
  await page.press('#search', 'Escape');

  await page.hover('.conversation >> nth=1');
  await page.click('.conversation >> nth=1 >> [aria-label^="Rename"]');
  await page.keyboard.type('A friend');
  await page.keyboard.press('Enter');
  assert.equal((await user.titles())[1], 'A friend');
  await page.hover('.conversation >> nth=1');
  await page.click('[aria-label="Delete “A friend”"]');
  assert.deepEqual(await user.titles(), ['What is 17 plus 25?']);
  await page.click('.toast button');
  assert.equal((await user.said()).length, 2);
  await user.reload();
  assert.deepEqual((await user.titles()).sort(), ['A friend', 'What is 17 plus 25?']);
  await user.close();
});

test('on a phone nothing scrolls sideways, and the list is a drawer', {timeout: 120000}, async () => {
  const user = await openPage(browser, server.url, {viewport: {width: 390, height: 760}, hasTouch: true, isMobile: true});
  const {page} = user;
  const wide = `${'W'.repeat(300)}\n\n\`\`\`\n${'x'.repeat(300)}\n\`\`\`\n\n|${'head|'.repeat(30)}\n|${'---|'.repeat(30)}\n|${'cell|'.repeat(30)}`;
  await user.answer(wide);
  await user.say('V'.repeat(300));
  const {content, window: width} = await page.evaluate(() => ({content: document.documentElement.scrollWidth, window: innerWidth}));
  assert.equal(width, 390);
  assert.ok(content <= 390, `the page is ${content} wide`);
  const column = await page.locator('#scroller').evaluate((element) => element.scrollWidth - element.clientWidth);
  assert.ok(column <= 0, `messages are ${column} wider than their column`);

  assert.equal(await page.isVisible('#sidebar'), false);
  await page.tap('#open-sidebar');
  await page.waitForSelector('#sidebar.open');
  assert.equal(await page.getAttribute('#open-sidebar', 'aria-expanded'), 'true');
  await page.keyboard.press('Escape');
  await page.waitForSelector('#sidebar', {state: 'hidden'});
  assert.equal(await page.evaluate(() => document.activeElement.id), 'open-sidebar');
  await page.tap('#open-sidebar');
  await page.tap('#new-conversation');
  await page.waitForSelector('#sidebar', {state: 'hidden'});
  assert.equal(await page.isVisible('#empty'), true);
  await user.close();
});

test('everything can be done from the keyboard', {timeout: 120000}, async () => {
  const user = await openPage(browser, server.url);
  const {page} = user;
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.getAttribute('aria-label') || document.activeElement.textContent);
  await page.keyboard.type('My name is Ada.');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('Hello!');
  assert.equal(await page.inputValue('#prompt'), 'My name is Ada.\nHello!');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.reply');
  await user.idle();
  await page.keyboard.press('Control+Shift+O');
  assert.equal(await page.isVisible('#empty'), true);
  assert.equal(await focused(), 'prompt');
  await page.keyboard.press('Control+k');
  assert.equal(await focused(), 'search');
  await page.keyboard.type('ada');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  assert.deepEqual(await user.said(), ['My name is Ada.\nHello!']);
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('?');
  assert.equal(await page.locator('#help[open] kbd').count() > 8, true);
  await page.keyboard.press('Escape');
  await page.keyboard.press('Control+,');
  assert.equal(await page.locator('#settings[open]').count(), 1);
  await page.keyboard.press('Escape');
  await page.keyboard.press('/');
  assert.equal(await focused(), 'prompt');

  // Tab reaches every control, in the order of the page, and each shows that it has the focus.
  await user.reload();
  await page.focus('.skip');
  await page.keyboard.press('Shift+Tab');
  const reached = [];
  for (let i = 0; i < 40; ++i) {
    await page.keyboard.press('Tab');
    const one = await focused();
    if (reached.includes(one) || await page.evaluate(() => document.activeElement === document.body)) break;
    reached.push(one);
    const visible = await page.evaluate(() => {
      const style = getComputedStyle(document.activeElement);
      return style.outlineStyle !== 'none' || document.activeElement.matches('.composer textarea');
    });
    assert.ok(visible, `${one} shows its focus`);
  }
  const order = ['Skip to the message box', 'new-conversation', 'search', 'open-settings', 'open-help', 'Copy this reply', 'New reply', 'prompt', 'think'];
  assert.deepEqual(reached.filter((one) => order.includes(one)), order);
  await user.close();
});

test('a server that goes away takes nothing with it', {timeout: 120000}, async () => {
  const own = await startServer();
  const user = await openPage(browser, own.url, {expected: /Failed to load resource/});
  const {page} = user;
  assert.match(await user.say('My name is Zorblaxa and I live in Tavimor.'), /Zorblaxa/);
  await own.stop();
  await user.send("What's my name?");
  await user.notice().waitFor();
  assert.equal(await page.inputValue('#prompt'), "What's my name?", 'the text is back where it was typed');
  assert.equal((await user.said()).length, 1);
  await page.waitForSelector('#notice-server');

  const again = await startServer({port: own.port});
  await page.waitForSelector('#notice-server', {state: 'detached'});
  await user.notice().getByRole('button', {name: 'Try again'}).click();
  await page.waitForSelector('.reply >> nth=1');
  await user.idle();
  assert.match(await user.lastReply(), /Zorblaxa/);
  assert.equal(await page.inputValue('#prompt'), '');
  assert.equal(await user.notice().count(), 0);

  // In the middle of a reply: what came stays.
  await user.alter(endless);
  await user.send('Tell me a joke.');
  await until(async () => (await user.replies()).length === 3 && (await user.lastReply()).length > 20, 'a reply that runs');
  await again.kill();
  await page.waitForSelector('.note.problem');
  assert.match(await page.innerText('.note.problem'), /What came is kept/);
  assert.ok((await user.lastReply()).length > 20);
  await user.close();
});

test('a server with a key asks for it, and the page forgets it with its tab', {timeout: 120000}, async () => {
  const own = await startServer({args: ['--api-key', 'open-sesame']});
  try {
    const user = await openPage(browser, own.url, {expected: /401/});
    const {page} = user;
    await page.waitForSelector('#key[open]');
    await page.getByRole('textbox', {name: 'API key'}).fill('wrong');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#key[open]');
    await page.keyboard.press('Escape');
    // Without a key a message is not lost, and the page asks again.
    await user.send('My name is Zorblaxa and I live in Tavimor.');
    await page.waitForSelector('#key[open]');
    await page.getByRole('textbox', {name: 'API key'}).fill('open-sesame');
    await page.keyboard.press('Enter');
    await page.waitForSelector('.reply .stats:not(:empty)');
    await user.idle();
    assert.match(await user.lastReply(), /Zorblaxa/);
    assert.equal(await page.evaluate(() => JSON.stringify(localStorage).includes('sesame')), false);
    await user.reload();
    await page.waitForSelector('[data-state="online"]');
    await user.close();
  } finally {
    await own.stop();
  }
});

test('a refusal, a busy server and a cut stream are shown where they belong', {timeout: 120000}, async () => {
  const user = await openPage(browser, server.url, {expected: /Failed to load resource/});
  const {page} = user;
  await user.answer(errorAnswer(400, 'The field x is wrong.'));
  await user.send('first words');
  await user.notice().waitFor();
  assert.match(await user.notice().innerText(), /The field x is wrong\./);
  assert.equal(await page.inputValue('#prompt'), 'first words');
  assert.deepEqual(await user.said(), []);
  await user.reload();
  assert.equal(await page.inputValue('#prompt'), 'first words', 'not even a reload loses it');
  assert.deepEqual(await user.titles(), []);
  await user.asUsual();

  await user.answer((count) => (count === 1 ? errorAnswer(429, 'Too many.', {'Retry-After': '1'}) : null));
  await user.send('What is 17 plus 25?');
  await page.getByText('The server is busy. Trying again in 1 s.').waitFor();
  await until(async () => /42/.test(await user.lastReply()), 'the second try');
  await user.idle();
  await user.asUsual();

  await user.answer({contentType: 'text/event-stream', body: eventStream('Half a rep', null)});
  await user.send('And then?');
  await page.waitForSelector('.note.problem');
  assert.equal(await user.lastReply(), 'Half a rep');
  await user.asUsual();

  // Written on while the answer failed: both texts stay.
  await page.route('**/v1/chat/completions', async (route) => {
    await new Promise((resolve) => setTimeout(resolve, 400));
    await route.fulfill(errorAnswer(500, 'Broken.'));
  });
  await user.send('third');
  await page.fill('#prompt', 'typed meanwhile');
  await user.notice().waitFor();
  assert.equal(await page.inputValue('#prompt'), 'typed meanwhile');
  assert.equal((await user.said()).at(-1), 'third');
  // The message without a reply offers to ask for one; that this fails too is said.
  await page.getByRole('button', {name: 'Ask for one'}).click();
  await page.waitForSelector('.live');
  await user.idle();
  assert.match(await user.notice().innerText(), /Broken/);
  await user.close();
});
