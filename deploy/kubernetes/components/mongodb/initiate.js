// Run by initiate.sh in the first pod. Until there is a user, mongod lets in who connects from its own host, to initiate
// the set and to make that user. So the set begins with this one member, which then has the lead for sure; the others
// join when the users exist.
const fs = require("fs");
const secret = (name) => fs.readFileSync(`/run/secrets/keys/${name}`, "utf8").trim();
const host = (index) => `mongodb-${index}.${process.env.DOMAIN}:27017`;
const tls = "tls=true&tlsCAFile=/run/secrets/authority/ca.crt";
const connect = (userinfo, more) =>
  Mongo(`mongodb://${userinfo}localhost:27017/admin?directConnection=true&serverSelectionTimeoutMS=5000&${tls}${more}`);

function connectAsRoot() {
  try {
    return connect(`root:${encodeURIComponent(secret("root-password"))}@`, "&authSource=admin");
  } catch (error) {
    if (error.codeName !== "AuthenticationFailed") throw error;
    return null;
  }
}

function waitForLead(connection) {
  for (let tries = 0; tries < 30; tries++) {
    if (connection.getDB("admin").hello().isWritablePrimary) return;
    sleep(1000);
  }
  throw new Error("this member doesn't lead");
}

function initiate() {
  const connection = connect("", "");
  const admin = connection.getDB("admin");
  if (!admin.hello().setName) {
    const done = admin.runCommand({ replSetInitiate: { _id: "rs0", members: [{ _id: 0, host: host(0) }] } });
    if (!done.ok && done.codeName !== "AlreadyInitialized") throw new Error(done.errmsg);
  }
  waitForLead(connection);
  admin.createUser({ user: "root", pwd: secret("root-password"), roles: ["root"] });
}

function makeUser(connection) {
  const database = connection.getDB("broadway");
  if (database.getUser("broadway") === null)
    database.createUser({
      user: "broadway",
      pwd: secret("broadway-password"),
      roles: [{ role: "readWrite", db: "broadway" }],
    });
}

// One member at a time, as a reconfiguration must.
function addMembers(connection, wanted) {
  const admin = connection.getDB("admin");
  for (let index = 1; index < wanted; index++) {
    const { config } = admin.runCommand({ replSetGetConfig: 1 });
    if (config.members.some((member) => member.host === host(index))) continue;
    const id = Math.max(...config.members.map((member) => member._id)) + 1;
    config.members.push({ _id: id, host: host(index) });
    config.version += 1;
    const done = admin.runCommand({ replSetReconfig: config });
    if (!done.ok) throw new Error(`${host(index)} can't be added: ${done.errmsg}`);
  }
}

let root = connectAsRoot();
if (root === null) {
  initiate();
  root = connectAsRoot();
}
if (root.getDB("admin").hello().isWritablePrimary) {
  makeUser(root);
  addMembers(root, Number(process.env.MEMBERS));
} else {
  // It was complete once, and another member leads now.
  const { config } = root.getDB("admin").runCommand({ replSetGetConfig: 1 });
  if (config.members.length < Number(process.env.MEMBERS)) throw new Error("this member doesn't lead");
}
