-- For finding users by the name that they chose to be shown (ListUsers), in any letter case.
create index profiles_of_display_name on profiles (lower(display_name), user_id) where display_name <> '';
