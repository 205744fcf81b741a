/** What Ollama's own client makes of one call: `node ollama.mjs BASE MODEL plain|stream|generate`. */
import { Ollama } from 'ollama';

const [base, model, how] = process.argv.slice(2);
const ollama = new Ollama({ host: base });
const messages = [{ role: 'user', content: 'Say hello.' }];

const seen = [];
let error;
try {
  if (how === 'plain') seen.push(await ollama.chat({ model, messages }));
  else {
    const stream =
      how === 'generate'
        ? await ollama.generate({ model, prompt: 'Say hello.', stream: true })
        : await ollama.chat({ model, messages, stream: true });
    for await (const chunk of stream) seen.push(chunk);
  }
} catch (failure) {
  error = { name: failure.name, message: failure.message };
}
console.log(JSON.stringify({ seen, error }));
