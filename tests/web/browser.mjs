// Chromium for the tests of the page, and a hand that uses the page as a person would.
import assert from 'node:assert/strict';
import {chromium} from 'playwright-core';

export async function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
           '--disable-component-update', '--disable-sync'],
  });
}

/** Waits until `check` gives something true, and returns it. */
export async function until(check, what, ms = 30000) {
  const end = Date.now() + ms;
  for (;;) {
    const found = await check();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${ms} ms for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/**
 * A browser profile of its own with the page open. Every violation of the policy, every error on the console and every
 * exception lands in `problems`; `close()` fails if one of them was not expected (`expected`: a pattern).
 */
export async function openPage(browser, url, options = {}) {
  const {expected, prepare, ...contextOptions} = options;
  const context = await browser.newContext({viewport: {width: 1200, height: 800}, ...contextOptions});
  const page = await context.newPage();
  page.setDefaultTimeout(30000);
  const problems = [];
  page.on('console', (message) => message.type() === 'error' && problems.push(`console: ${message.text()}`));
  page.on('pageerror', (error) => problems.push(`exception: ${error.stack}`));
  page.on('dialog', (dialog) => {
    problems.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      console.error(`policy violated: ${event.violatedDirective} by ${event.blockedURI} ${event.sample}`);
    });
  });
  await prepare?.(page);
  const user = new User(page, context, problems, expected);
  await page.goto(url);
  await user.ready();
  return user;
}

export class User {
  constructor(page, context, problems, expected) {
    Object.assign(this, {page, context, problems, expected});
  }

  async ready() {
    await this.page.waitForSelector('body[data-ready]');
  }

  /** Types a message, sends it with Enter and waits for the whole reply, whose text is returned. */
  async say(text) {
    await this.send(text);
    await this.idle();
    return this.lastReply();
  }

  async send(text) {
    await this.page.fill('#prompt', text);
    await this.page.press('#prompt', 'Enter');
  }

  /** No reply is being written. */
  async idle() {
    await this.page.waitForSelector('#send[data-shows="send"]');
    await this.page.waitForFunction(() => document.querySelector('.live') === null);
  }

  replies() {
    return this.page.locator('.reply .prose').allInnerTexts();
  }

  said() {
    return this.page.locator('.user .said').allInnerTexts();
  }

  async lastReply() {
    return (await this.replies()).at(-1) ?? '';
  }

  /** The conversations in the list, from above. */
  titles() {
    return this.page.locator('.conversation-title').allInnerTexts();
  }

  async reload() {
    await this.page.reload();
    await this.ready();
  }

  notice() {
    return this.page.locator('#notice-failed');
  }

  /** Lets chat requests pass, but with `fields` changed: a real reply that never ends by itself, say. */
  async alter(fields) {
    await this.page.route('**/v1/chat/completions', (route) => {
      const body = {...JSON.parse(route.request().postData()), ...fields};
      return route.continue({postData: JSON.stringify(body)});
    });
  }

  /** Answers chat requests in the server's place: `answer` is a text, or a function of the request's number. */
  async answer(answer) {
    let count = 0;
    await this.page.route('**/v1/chat/completions', (route) => {
      const one = typeof answer === 'function' ? answer(++count) : answer;
      if (one === null) return route.continue();
      return route.fulfill(typeof one === 'string' ? {contentType: 'text/event-stream', body: eventStream(one)} : one);
    });
  }

  async asUsual() {
    await this.page.unroute('**/v1/chat/completions');
  }

  async close() {
    const unexpected = this.problems.filter((problem) => !this.expected?.test(problem));
    await this.context.close();
    assert.deepEqual(unexpected, []);
  }
}

/** What a server streams for a reply of this text, in pieces of five characters. */
export function eventStream(text, finish = 'stop') {
  const chunk = (delta, reason = null) => `data: ${JSON.stringify({choices: [{index: 0, delta, finish_reason: reason}]})}\n\n`;
  const pieces = text.match(/[\s\S]{1,5}/gu) ?? [];
  return pieces.map((piece) => chunk({content: piece})).join('') + (finish ? `${chunk({}, finish)}data: [DONE]\n\n` : '');
}

export function errorAnswer(status, message, headers = {}) {
  return {status, headers, contentType: 'application/json', body: JSON.stringify({error: {message, type: 'x', param: null, code: null}})};
}
