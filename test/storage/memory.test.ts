import { MemoryStore } from '../../server/storage/memory.ts';
import { storeContract } from '../contract/store.ts';

storeContract(async () => {
  const store = new MemoryStore();
  return { store, reopen: async () => store };
});
