// The dialogs: settings, keyboard help, the key. <dialog> keeps the focus inside and gives it back.
import {apiKey, setApiKey} from './api.js';
import {byId, h, iconButton} from './dom.js';
import {canListen, canSpeak, voices} from './speech.js';

/** Theme of the page: 'system', 'light' or 'dark'. */
export function applyTheme(theme) {
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

function fill(dialog, title, ...content) {
  dialog.replaceChildren(h('div', {class: 'dialog-head'}, h('h2', {id: `${dialog.id}-title`}, title),
                           iconButton('close', 'Close', () => dialog.close())), ...content);
  if (!dialog.dataset.ready) {
    dialog.dataset.ready = 'yes';
    dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
  }
  if (!dialog.open) dialog.showModal();
}

let lastId = 0;
function field(label, control, hint) {
  const id = `field-${++lastId}`;
  control.id = id;
  if (hint) control.setAttribute('aria-describedby', `${id}-hint`);
  return h('div', {class: 'field'}, h('label', {for: id}, label), control, hint ? h('p', {id: `${id}-hint`, class: 'hint'}, hint) : null);
}

function number(options, name, limits, placeholder, changed) {
  const input = h('input', {type: 'number', inputmode: limits.step === '1' ? 'numeric' : 'decimal', placeholder, ...limits});
  input.value = options[name] ?? '';
  input.addEventListener('input', () => {
    if (input.value === '' && input.validity.valid) delete options[name];
    else if (input.validity.valid) options[name] = Number(input.value);
    input.setAttribute('aria-invalid', String(!input.validity.valid));
    changed();
  });
  return input;
}

function check(label, value, changed, hint) {
  const input = h('input', {type: 'checkbox'});
  input.checked = value;
  input.addEventListener('change', () => changed(input.checked));
  return h('div', {class: 'check'}, h('label', {}, input, h('span', {}, label)), hint ? h('p', {class: 'hint'}, hint) : null);
}

/**
 * conversation: whose settings are shown; settings: the page's. actions: conversationChanged(), settingsChanged(),
 * makeDefault(), exportAll(), exportOne(), importFile(file), deleteAll().
 */
export function showSettings(conversation, settings, actions) {
  const {options} = conversation;
  const changed = () => actions.conversationChanged();
  const system = h('textarea', {rows: '4', placeholder: 'For example: Answer briefly, in English.'});
  system.value = conversation.system;
  system.addEventListener('input', () => {
    conversation.system = system.value;
    changed();
  });
  const kept = h('span', {class: 'hint', role: 'status'});
  const theme = h('div', {class: 'choices', role: 'radiogroup', 'aria-label': 'Colours'}, ['system', 'light', 'dark'].map((name) => {
    const input = h('input', {type: 'radio', name: 'theme', value: name});
    input.checked = settings.theme === name;
    input.addEventListener('change', () => {
      settings.theme = name;
      applyTheme(name);
      actions.settingsChanged();
    });
    return h('label', {}, input, h('span', {}, {system: 'As the system', light: 'Light', dark: 'Dark'}[name]));
  }));
  const speech = [];
  if (canSpeak()) {
    const choice = h('select', {}, h('option', {value: ''}, 'The browser’s choice'),
                     voices().map((voice) => h('option', {value: voice.voiceURI}, `${voice.name} (${voice.lang})${voice.localService ? '' : ', over the network'}`)));
    choice.value = settings.voice ?? '';
    choice.addEventListener('change', () => {
      settings.voice = choice.value || null;
      actions.settingsChanged();
    });
    speech.push(field('Voice', choice));
  }
  if (canListen()) {
    speech.push(check('Send when I stop speaking', settings.sendSpoken, (value) => {
      settings.sendSpoken = value;
      actions.settingsChanged();
    }, 'Your browser recognises the speech; some send the sound to their maker for that.'));
  }
  const file = h('input', {type: 'file', accept: 'application/json,.json', class: 'visually-hidden', tabindex: '-1', 'aria-label': 'File with conversations'});
  file.addEventListener('change', () => file.files[0] && actions.importFile(file.files[0]));
  let sure = false;
  const wipe = h('button', {type: 'button', class: 'danger', onclick: () => {
    if (sure) {
      actions.deleteAll();
      byId('settings').close();
    }
    sure = true;
    wipe.textContent = 'Really delete all of them';
  }}, 'Delete all conversations');

  fill(byId('settings'), 'Settings',
    h('section', {'aria-label': 'This conversation'},
      h('h3', {}, 'This conversation'),
      field('System prompt', system, 'Said to the model before everything else.'),
      check('Think first', options.thinking === true, (value) => {
        options.thinking = value;
        changed();
      }, 'The model writes its thoughts down before it answers. Slower, often better.'),
      h('div', {class: 'fields'},
        field('Thinking budget', number(options, 'thinking_budget', {min: '0', max: '100000', step: '1'}, 'model’s own', changed), 'tokens'),
        field('Longest reply', number(options, 'max_tokens', {min: '1', max: '100000', step: '1'}, 'model’s own', changed), 'tokens'),
        field('Temperature', number(options, 'temperature', {min: '0', max: '2', step: 'any'}, 'model’s own', changed), '0 is always the likeliest'),
        field('Top p', number(options, 'top_p', {min: '0', max: '1', step: 'any'}, 'model’s own', changed), 'share of likelihood kept'),
        field('Top k', number(options, 'top_k', {min: '0', max: '100000', step: '1'}, 'model’s own', changed), 'tokens kept'),
        field('Seed', number(options, 'seed', {min: '0', max: '4294967295', step: '1'}, 'random', changed), 'same seed, same reply')),
      h('div', {class: 'row'}, h('button', {type: 'button', class: 'secondary', onclick: () => {
        actions.makeDefault();
        kept.textContent = 'New conversations begin like this one.';
      }}, 'Begin new conversations like this'), kept)),
    h('section', {'aria-label': 'Page'}, h('h3', {}, 'Page'), h('div', {class: 'field'}, h('p', {class: 'label', 'aria-hidden': 'true'}, 'Colours'), theme), ...speech,
      h('div', {class: 'row'}, h('button', {type: 'button', class: 'secondary', onclick: () => showKey({})}, apiKey() ? 'Change the API key' : 'Enter an API key'))),
    h('section', {'aria-label': 'Conversations'}, h('h3', {}, 'Conversations'),
      h('p', {class: 'hint'}, 'They are kept in this browser only.'),
      h('div', {class: 'row'}, h('button', {type: 'button', class: 'secondary', onclick: () => actions.exportAll()}, 'Export all'),
        h('button', {type: 'button', class: 'secondary', disabled: conversation.nodes.length === 0, onclick: () => actions.exportOne()}, 'Export this one'),
        h('button', {type: 'button', class: 'secondary', onclick: () => file.click()}, 'Import'), file, wipe),
      h('p', {id: 'transfer-state', class: 'hint', role: 'status'})));
}

const mac = /Mac|iPhone|iPad/.test(navigator.platform);
const command = mac ? '⌘' : 'Ctrl';
const kKeys = [
  ['Enter', 'Send'],
  ['Shift Enter', 'New line'],
  ['Esc', 'Stop the reply and the voice'],
  ['↑', 'Edit your last message, from an empty message box'],
  [`${command} K`, 'Search conversations'],
  [`${command} Shift O`, 'New conversation'],
  ['/', 'Go to the message box'],
  [`${command} ,`, 'Settings'],
  ['?', 'This list'],
];

export function showHelp() {
  fill(byId('help'), 'Keyboard', h('dl', {class: 'keys'}, kKeys.map(([keys, what]) => h('div', {},
    h('dt', {}, keys.split(' ').map((key) => h('kbd', {}, key))), h('dd', {}, what)))));
}

let answer = null;

/** Asks for the API key. Resolves to whether one was given. */
export function showKey({message}) {
  const dialog = byId('key');
  if (dialog.open && answer) return answer;
  answer = new Promise((resolve) => {
    const input = h('input', {type: 'password', autocomplete: 'off', spellcheck: 'false', required: true});
    input.value = '';
    let remember = false;
    const form = h('form', {onsubmit: (event) => {
      event.preventDefault();
      setApiKey(input.value.trim(), remember);
      given = true;
      dialog.close();
    }}, h('p', {}, message ?? 'The server may ask for a key. Whoever runs it has it.'), field('API key', input),
    check('Remember it in this browser', false, (value) => { remember = value; }, 'Otherwise it is forgotten with this tab.'),
    h('div', {class: 'row'}, h('button', {type: 'submit', class: 'primary'}, 'Use this key'),
      apiKey() ? h('button', {type: 'button', class: 'secondary', onclick: () => {
        setApiKey(null);
        dialog.close();
      }}, 'Forget the key') : null));
    let given = false;
    fill(dialog, 'API key', form);
    input.focus();
    dialog.addEventListener('close', () => {
      answer = null;
      resolve(given);
    }, {once: true});
  });
  return answer;
}
