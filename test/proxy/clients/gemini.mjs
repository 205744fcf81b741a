/** What Google's own client makes of one call: `node gemini.mjs BASE MODEL plain|stream`. */
import { GoogleGenAI } from '@google/genai';

const [base, model, how] = process.argv.slice(2);
const ai = new GoogleGenAI({
  apiKey: 'key-planted-gemini',
  httpOptions: { baseUrl: base, apiVersion: 'v1beta' },
});
const call = { model, contents: 'Say hello.' };
const plain = ({ text, functionCalls, candidates, usageMetadata, responseId }) => ({
  text,
  functionCalls,
  finish: candidates?.map(({ finishReason }) => finishReason),
  usageMetadata,
  responseId,
});

const seen = [];
let error;
try {
  if (how === 'plain') seen.push(plain(await ai.models.generateContent(call)));
  else
    for await (const chunk of await ai.models.generateContentStream(call)) seen.push(plain(chunk));
} catch (failure) {
  error = { name: failure.name, status: failure.status, message: failure.message };
}
console.log(JSON.stringify({ seen, error }));
