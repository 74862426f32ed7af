// A stand-in for mongosh and a MongoDB of three members, as far as initiate.js asks: run by test_initiate.py with node.
// It speaks as MongoDB does: without users only this host is let in, and only to initiate and to make the first user.
// argv: SCRIPT STATE. STATE is a JSON file with {set, users, passwords, leads}; it is read, and written at the end.
const fs = require("fs");
const vm = require("vm");
const [script, statePath] = process.argv.slice(2);
const state = JSON.parse(fs.readFileSync(statePath, "utf8"));
const refuse = (code, codeName) => Object.assign(new Error(codeName), { code, codeName });

function checkAuthorized(session) {
  if (!session.user && Object.keys(state.users).length > 0) throw refuse(13, "Unauthorized");
}

const commands = {
  replSetInitiate(session, { replSetInitiate: config }) {
    checkAuthorized(session);
    if (state.set) return { ok: 0, codeName: "AlreadyInitialized", errmsg: "already" };
    state.set = { ...config, version: 1 };
    state.leads = true;
    return { ok: 1 };
  },
  replSetGetConfig(session) {
    if (!session.user) throw refuse(13, "Unauthorized");
    return { ok: 1, config: structuredClone(state.set) };
  },
  replSetReconfig(session, { replSetReconfig: config }) {
    if (!session.user) throw refuse(13, "Unauthorized");
    const added = config.members.length - state.set.members.length;
    if (added !== 1 || config.version !== state.set.version + 1) return { ok: 0, errmsg: "one member at a time" };
    const newest = config.members.at(-1);
    if (state.unreachable.includes(newest.host)) return { ok: 0, errmsg: "not reachable" };
    state.set = config;
    return { ok: 1 };
  },
};

function database(session, name) {
  return {
    hello: () => ({ setName: state.set?._id, isWritablePrimary: Boolean(state.set) && state.leads }),
    runCommand: (command) => commands[Object.keys(command)[0]](session, command),
    getUser: (user) => (`${name}.${user}` in state.users ? { user } : null),
    createUser({ user, pwd, roles }) {
      checkAuthorized(session);
      if (!state.leads) throw refuse(10107, "NotWritablePrimary");
      if (Object.keys(state.users).length === 0 && name !== "admin") throw refuse(13, "Unauthorized");
      state.users[`${name}.${user}`] = { pwd, roles };
    },
  };
}

function Mongo(uri) {
  const { username, password, hostname, searchParams } = new URL(uri);
  if (hostname !== "localhost" || searchParams.get("tls") !== "true") throw new Error(`by the wrong way: ${uri}`);
  if (username && state.users[`admin.${username}`]?.pwd !== decodeURIComponent(password))
    throw refuse(18, "AuthenticationFailed");
  return { getDB: (name) => database({ user: username }, name) };
}

const files = { readFileSync: (path) => `${path.split("/").at(-1)}-value\n` };
const names = { require: () => files, process, Mongo, sleep: () => {}, console, encodeURIComponent };
let failure = null;
try {
  vm.runInNewContext(fs.readFileSync(script, "utf8"), names);
} catch (error) {
  failure = error.message;
}
fs.writeFileSync(statePath, JSON.stringify({ ...state, failure }));
