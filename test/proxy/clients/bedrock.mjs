/** What AWS's own client makes of one signed call: `node bedrock.mjs BASE MODEL plain|stream`. */
import {
  BedrockRuntimeClient,
  ConverseCommand,
  ConverseStreamCommand,
} from '@aws-sdk/client-bedrock-runtime';
import { NodeHttpHandler } from '@smithy/node-http-handler';

const [base, modelId, how] = process.argv.slice(2);
const client = new BedrockRuntimeClient({
  region: 'us-east-1',
  endpoint: base,
  maxAttempts: 1,
  // By itself it speaks HTTP/2 to Bedrock.
  requestHandler: new NodeHttpHandler(),
  credentials: {
    accessKeyId: 'AKIDPLANTED',
    secretAccessKey: 'secret-planted',
    sessionToken: 'session-planted',
  },
});
const call = { modelId, messages: [{ role: 'user', content: [{ text: 'Say hello.' }] }] };

const seen = [];
let error;
try {
  if (how === 'plain') {
    const { output, stopReason, usage } = await client.send(new ConverseCommand(call));
    seen.push({ output, stopReason, usage });
  } else {
    const { stream } = await client.send(new ConverseStreamCommand(call));
    for await (const event of stream) seen.push(event);
  }
} catch (failure) {
  error = { name: failure.name, message: failure.message };
}
console.log(JSON.stringify({ seen, error }));
