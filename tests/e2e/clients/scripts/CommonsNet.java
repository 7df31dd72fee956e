import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.PrintWriter;
import java.util.Map;
import org.apache.commons.net.ftp.FTP;
import org.apache.commons.net.ftp.FTPClient;
import org.apache.commons.net.ftp.FTPFile;
import org.apache.commons.net.ftp.FTPSClient;
import org.apache.commons.net.util.TrustManagerUtils;

/** Apache Commons Net, one session. */
final class CommonsNet {
    public static void main(String[] arguments) throws Exception {
        Map<String, String> given = System.getenv();
        FTPClient client;
        boolean plain = given.get("MODE").equals("plain");
        if (plain) {
            client = new FTPClient();
        } else {
            FTPSClient secure = new FTPSClient(given.get("MODE").equals("implicit"));
            secure.setTrustManager(TrustManagerUtils.getAcceptAllTrustManager());
            client = secure;
        }
        client.setDefaultTimeout(30_000);
        client.connect(given.get("HOST"), Integer.parseInt(given.get("PORT")));
        client.enterLocalPassiveMode();
        must(client, "login", client.login(given.get("NAME"), given.get("PASSWORD")));
        if (client instanceof FTPSClient) {
            ((FTPSClient) client).execPBSZ(0);
            ((FTPSClient) client).execPROT("P");
        }
        must(client, "binary", client.setFileType(FTP.BINARY_FILE_TYPE));
        try (PrintWriter listing = new PrintWriter("listing")) {
            for (FTPFile file : client.listFiles()) {
                listing.println(file.getName() + " " + file.getSize());
            }
            for (FTPFile file : client.mlistDir()) {
                listing.println(file.getName() + " " + file.getSize());
            }
        }
        long cut;
        try (FileInputStream half = new FileInputStream("half.bin")) {
            cut = half.getChannel().size();
            must(client, "put", client.storeFile("up.bin", half));
        }
        try (FileInputStream whole = new FileInputStream("whole.bin")) {
            must(client, "put", client.storeFile("put.bin", whole));
        }
        try (FileInputStream whole = new FileInputStream("whole.bin")) {
            whole.skip(cut);
            client.setRestartOffset(cut);
            must(client, "put the rest", client.storeFile("up.bin", whole));
        }
        try (FileOutputStream got = new FileOutputStream("got.bin")) {
            must(client, "get", client.retrieveFile("there.bin", got));
        }
        try (FileOutputStream down = new FileOutputStream("down.bin", true)) {
            client.setRestartOffset(down.getChannel().size());
            must(client, "get the rest", client.retrieveFile("there.bin", down));
        }
        must(client, "rename", client.rename("old name.bin", "new name.bin"));
        must(client, "delete", client.deleteFile("unwanted.bin"));
        must(client, "logout", client.logout());
        client.disconnect();
    }

    private static void must(FTPClient client, String step, boolean done) {
        if (!done) {
            throw new IllegalStateException(step + ": " + client.getReplyString());
        }
    }
}
